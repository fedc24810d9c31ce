"""`everlearn tables export`, `import`, `copy` and `merge`: look-up tables as things to share."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, final

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import Choice, choice_of, open_learner
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import document, one_line, show, show_json, show_rows, visible

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the look-up table.", show_default=False)]
Target = Annotated[
    Path, typer.Argument(metavar="PATH", help="Folder to make, or a file that ends in .zip.", show_default=False)
]
Licence = Annotated[str, typer.Option("--licence", metavar="TEXT", help="Licence of the content, for the model card.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@final
class Rule(StrEnum):
    """Whose answer holds where both tables answer a question."""

    OURS = "ours"
    THEIRS = "theirs"
    NEWEST = "newest"
    KEEP_BOTH = "keep_both"
    REPORT = "report"


def export(
    ctx: typer.Context,
    name: Name,
    path: Target,
    licence: Licence = "unknown",
    force: Force = False,
    keys_and_values_only: Annotated[
        bool,
        typer.Option(
            "--keys-and-values-only", help="No text of questions; answers can still be read from values (see the card)."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Write a table with lessons, history, keys and values as one bundle that others can import.

    Values that are missing are computed first. Lessons that are held back stay at home.
    """
    _export(choice_of(ctx), name, path, licence, force, sealed=keys_and_values_only, json=json)


def copy(
    ctx: typer.Context,
    name: Name,
    path: Target,
    to_model: Annotated[
        str, typer.Option("--to-model", metavar="NAME", help="Base model whose values the copy holds.")
    ],
    licence: Licence = "unknown",
    force: Force = False,
    json: options.Json = False,
) -> None:
    """Copy a table to another base model: its values are computed there, and written as a bundle for it.

    Lessons and keys do not depend on the base model; in this home every model can be asked about every table.
    """
    choice = dataclasses.replace(choice_of(ctx), model=to_model)
    _export(choice, name, path, licence, force, json=json)


def import_(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or .zip file of a bundle.", show_default=False)],
    table: Annotated[
        str | None, typer.Option("--table", "-t", metavar="NAME", help="Another name for the table.")
    ] = None,
    derive: Annotated[
        bool, typer.Option("--derive", help="Compute values on this base model where the bundle was made on another.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Make a table of a bundle. Every file is checked against its sha256 first.

    Lessons that look like poison are held back. A bundle of another base model is refused, unless --derive
    computes its values again.
    """
    from everlearn.learning.bundle import read_bundle

    bundle = read_bundle(path)
    with open_learner(choice_of(ctx)) as learner:
        imported = learner.sharing.import_table(bundle, table=table, derive=derive)
        if derive:
            with steps_progress("computing values") as progress:
                learner.warm(progress=progress)
    if json:
        show_json(document(imported))
        return
    parts = [f"{imported.active:,} lessons", f"{imported.superseded:,} as history"]
    if imported.quarantined:
        parts.append(f"{imported.quarantined:,} held back (everlearn lessons quarantine list)")
    show(Text.assemble(("imported ", "green"), visible(imported.table), (f"  {', '.join(parts)}", "dim")))


def merge(
    ctx: typer.Context,
    ours: Annotated[
        str, typer.Argument(metavar="OURS", help="The first table; its settings hold.", show_default=False)
    ],
    theirs: Annotated[str, typer.Argument(metavar="THEIRS", help="The second table.", show_default=False)],
    into: Annotated[str, typer.Option("--into", metavar="NAME", help="The new table that holds both.")] = "",
    on_conflict: Annotated[
        Rule,
        typer.Option(
            "--on-conflict",
            metavar="ours|theirs|newest|keep_both|report",
            help="Whose answer holds where both answer a question; report changes nothing.",
        ),
    ] = Rule.REPORT,
    json: options.Json = False,
) -> None:
    """Merge two tables into a new one; both stay as they are. Says where they contradict each other."""
    if not into and on_conflict is not Rule.REPORT:
        raise typer.BadParameter("Wanted: --into NAME, or --on-conflict report.")
    with open_learner(choice_of(ctx)) as learner, steps_progress("comparing") as progress:
        merged = learner.sharing.merge_tables(ours, theirs, into, on_conflict=on_conflict.value, progress=progress)
        store = learner.engine.memory.store
        lessons = store.lessons_by_id([i for c in merged.conflicts for i in (c.ours, c.theirs)])
        shown = short_ids(store, lessons)
    if json:
        conflicts = [
            document(c)
            | {"prompt": lessons[c.ours].prompt, "answers": [lessons[c.ours].answer, lessons[c.theirs].answer]}
            for c in merged.conflicts
        ]
        show_json(document(merged) | {"conflicts": conflicts})
        return
    marks = {c.ours: "both" if c.kept == "both" else "ours" if c.kept == c.ours else "theirs" for c in merged.conflicts}
    show_rows(
        ("=ours", "=theirs", "question", f"{ours}", f"{theirs}", "=kept"),
        (
            [
                Text(shown[c.ours], "cyan"),
                Text(shown[c.theirs], "cyan"),
                one_line(lessons[c.ours].prompt),
                one_line(lessons[c.ours].answer),
                one_line(lessons[c.theirs].answer),
                marks[c.ours] if c.kept else "",
            ]
            for c in merged.conflicts
        ),
    )
    done = f"{merged.lessons:,} lessons speak, " if merged.into else "nothing was merged: "
    counts = f"{done}{merged.equal:,} are equal, {len(merged.conflicts):,} conflicts"
    show(Text.assemble(("merged ", "green") if merged.into else "", visible(merged.into), (f"  {counts}", "dim")))


def _export(
    choice: Choice, name: str, path: Path, licence: str, force: bool, *, sealed: bool = False, json: bool
) -> None:
    with open_learner(choice) as learner, steps_progress("computing values") as progress:
        about = learner.sharing.export_table(
            name, path, licence=licence, force=force, keys_and_values_only=sealed, progress=progress
        )
    if json:
        show_json({"path": path, "manifest": about})
        return
    size = sum(p.stat().st_size for p in path.iterdir()) if path.is_dir() else path.stat().st_size
    what = f"  {about['active']:,} lessons and {about['superseded']:,} as history, for {about['base_model']['name']}"
    show(Text.assemble((f"{visible(path.name)}", "bold"), f"{what}, {size:,} bytes"))

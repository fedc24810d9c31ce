"""`everlearn lessons quarantine`: lessons that were held back at write time, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import forget, options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_learner, open_store
from everlearn.cli.screen import Rows, note, one_line, show, show_json, show_rows
from everlearn.errors import ConflictError
from everlearn.records import DEFAULT_TABLE
from everlearn.store.port import LessonQuery

app = typer.Typer(
    help="Review lessons that were held back: hub keys, generic prompts, hidden orders, passages made to be found.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    ctx: typer.Context,
    table: Annotated[
        str | None, typer.Option("--table", "-t", metavar="NAME", help="Only of this look-up table.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Most lessons to show.")] = 50,
    json: options.Json = False,
) -> None:
    """List lessons that are held back, with the reason. They are on disk, and no question finds them."""
    with open_store(choice_of(ctx)) as store:
        query = LessonQuery(table=table, status="quarantined", limit=limit)
        if table is not None:
            store.table(table)
        lessons, count = store.lessons(query), store.count(query)
        shown = short_ids(store, (lesson.id for lesson in lessons))
    if json:
        show_json({"lessons": lessons, "count": count})
        return
    if not lessons:
        note("Nothing is held back.")
        return
    rows: Rows = (
        [Text(shown[le.id], "cyan"), le.table, one_line(le.prompt), one_line(le.answer), le.quarantine]
        for le in lessons
    )
    show_rows(("=lesson", "=table", "question", "answer", "reason"), rows, {"=table": DEFAULT_TABLE})
    if len(lessons) < count:
        note(f"{len(lessons):,} of {count:,}; more with --limit.")


@app.command("release")
def release(
    ctx: typer.Context,
    lesson_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Ids of lessons, or the beginnings of them.", show_default=False),
    ],
    on_conflict: options.OnConflictChoice = options.Conflict.SUPERSEDE,
    json: options.Json = False,
) -> None:
    """Let lessons speak that were held back. They then replace what answers the same question otherwise."""
    released = []
    with open_learner(choice_of(ctx)) as learner:
        store = learner.engine.memory.store
        for lesson_id in [store.resolve(each) for each in lesson_ids]:
            try:
                released.append(learner.release(lesson_id, on_conflict=on_conflict.chosen()))
            except ConflictError as error:
                raise ConflictError(error.message, hint="Replace that one with --on-conflict supersede.") from error
        shown = short_ids(store, [taught.lesson.id for taught in released])
    if json:
        show_json({"released": [{"id": t.lesson.id, "superseded": t.superseded} for t in released]})
        return
    for taught in released:
        replaced = f"  replaces {len(taught.superseded):,} lessons" if taught.superseded else ""
        show(Text.assemble(("released ", "green"), (shown[taught.lesson.id], "cyan"), (replaced, "yellow")))


app.command("forget")(forget.forget)

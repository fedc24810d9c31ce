"""`everlearn data`: what would be learned from files, before anything is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import weights_progress
from everlearn.cli.screen import grid, show, show_json, text

if TYPE_CHECKING:
    from everlearn.learning.inspection import Inspection

app = typer.Typer(help="Look at files before they are taught.", no_args_is_help=True)
_MOST_SHOWN = 5


@app.callback()
def _group() -> None:
    """Look at files before they are taught."""


@app.command("inspect")
def inspect(
    ctx: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Documents, lists of lessons, or folders.", show_default=False),
    ],
    json: options.Json = False,
) -> None:
    """Show what would be learned from files: passages or lessons, tokens, scripts, flaws and near-duplicates.

    Nothing is learned, and no model is loaded but its tokenizer.
    """
    from everlearn.learning.inspection import inspect_paths
    from everlearn.models.sources import resolve
    from everlearn.text.chat import ChatText

    settings = settings_of(choice_of(ctx))
    with weights_progress() as progress:
        counted = ChatText.from_folder(resolve(settings.model, settings.home, progress=progress).folder)
    found = list(inspect_paths(paths, counted.count))
    if json:
        show_json({"files": [asdict(each) for each in found]})
        return
    for each in found:
        show(_view(each))


def _view(found: Inspection) -> RenderableType:
    table = grid("", "")
    table.show_header = False
    what = "passages" if found.kind == "document" else "lessons"
    table.add_row(
        what, f"{found.pieces:,}, of {found.tokens_median:,.0f} tokens in the middle, {found.tokens_most:,} at most"
    )
    table.add_row("tokens", f"{found.tokens:,} ({found.characters:,} characters)")
    table.add_row("letters", ", ".join(f"{name} {share:.0%}" for name, share in found.scripts.items()) or "none")
    table.add_row("flaws", ", ".join(f"{flaw}: {count:,}" for flaw, count in found.flaws.items()) or "none")
    table.add_row("near-duplicates", f"{len(found.duplicates):,}")
    lines = [f"{place}: {flaw}" for place, flaw in found.examples[:_MOST_SHOWN]]
    lines += [f"{place} nearly repeats {earlier}" for place, earlier in found.duplicates[:_MOST_SHOWN]]
    lines += [f"cannot be read: {each}" for each in found.skipped[:_MOST_SHOWN]]
    more = len(found.skipped) - _MOST_SHOWN
    lines += [f"and {more:,} more that cannot be read"] if more > 0 else []
    return Group(text(found.path, "bold"), table, *(Text(f"  {line}", "dim") for line in lines))

"""`everlearn adapters`: versions of adapters, where they come from, and the way back. No model is loaded."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_shelf, open_store
from everlearn.cli.screen import show, show_json, show_rows, visible
from everlearn.errors import SettingsError

app = typer.Typer(help="List and show adapters, and go back to an earlier version.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME[@STEP]", help="An adapter or a version of it.", show_default=False)]


@app.command("list")
def list_(ctx: typer.Context, json: options.Json = False) -> None:
    """List all versions of all adapters; the one in use is marked."""
    shelf = open_shelf(choice_of(ctx))
    versions = [(version, shelf.current(version.name) == version.step) for version in shelf.all()]
    if json:
        show_json({"adapters": [{**asdict(version), "id": version.id, "in_use": used} for version, used in versions]})
        return
    columns = ("=adapter", "=in use", ">lessons", ">retired", "=parent", "=base", "=kept")
    show_rows(
        columns,
        (
            (
                visible(v.id),
                "yes" if used else "",
                f"{len(v.lessons):,}",
                f"{len(v.answers):,}",
                v.parent,
                visible(v.base),
                f"{v.created_at:%Y-%m-%d %H:%M}" if v.created_at else "",
            )
            for v, used in versions
        ),
    )


@app.command("show")
def show_(ctx: typer.Context, name: Name, json: options.Json = False) -> None:
    """Show where a version comes from: lessons, data, settings, digests."""
    choice = choice_of(ctx)
    shelf = open_shelf(choice)
    version = shelf.find(name)
    if json:
        show_json({**asdict(version), "id": version.id, "in_use": shelf.current(version.name) == version.step})
        return
    with open_store(choice) as store:
        lessons = store.lessons_by_id(version.lessons)
    about = {
        "adapter": version.id,
        "in use": "yes" if shelf.current(version.name) == version.step else "no",
        "base": f"{version.base} {version.base_digest[:12]}",
        "parent": version.parent or "none",
        "weights": version.weights[:12],
        "settings": ", ".join(f"{key} {value}" for key, value in version.settings.items()),
        **{f"data {key}": value[:12] for key, value in version.data.items()},
    }
    show_rows(("field", "value"), about.items())
    rows = ((i, lessons[i].prompt, lessons[i].answer, "weights" if i in version.answers else "table")
            for i in version.lessons if i in lessons)  # fmt: skip
    show_rows(("=lesson", "question", "answer", "=answered by"), rows)


@app.command("rollback")
def rollback(
    ctx: typer.Context,
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Use no version of it: the look-up tables speak again.")] = False,
    json: options.Json = False,
) -> None:
    """Use another version of an adapter: NAME@STEP, or with --off none. Nothing is deleted."""
    shelf = open_shelf(choice_of(ctx))
    bare, at, _ = name.partition("@")
    if bool(at) == off:
        raise SettingsError(
            f"{name!r} does not say which version.", hint="Wanted: NAME@STEP, or NAME --off to use none of them."
        )
    if off:
        shelf.find(f"{bare}@{max((v.step for v in shelf.versions(bare)), default=1)}")  # there must be one to turn off
        shelf.point(bare, None)
    else:
        version = shelf.find(name)
        shelf.point(version.name, version.step)
    if json:
        show_json({"adapter": bare, "step": shelf.current(bare)})
    else:
        show(Text.assemble(("in use now: ", "green"), visible(f"none of {bare}" if off else name)))

"""`everlearn lessons audit`: is everything that is stored what was written? No model is loaded."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_store
from everlearn.cli.screen import document, show, show_json


def audit(
    ctx: typer.Context,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect", metavar="HASH", help="A head that an earlier audit printed: it has to be part of the chain."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Verify the hash chain of all writes, and compare it with every lesson and table that is stored.

    Exits with 1 where something was changed, added or removed past everlearn. Keep the head that is printed: whoever
    can write the file could write a whole new chain, and --expect finds that out.
    """
    with open_store(choice_of(ctx)) as store:
        report = store.audit(expect=expect)
    if json:
        show_json(document(report) | {"sound": not report.flaws})
    else:
        for flaw in report.flaws:
            show(Text.assemble((flaw.where, "red"), f"  {flaw.what}"))
        verdict = Text("sound ", "green") if not report.flaws else Text(f"{len(report.flaws):,} flaws ", "red")
        verdict.append(f" {report.lessons:,} lessons, {report.events:,} events", "default")
        show(verdict.append(f"  head {report.head or 'none'}", "dim"))
    if report.flaws:
        raise typer.Exit(1)

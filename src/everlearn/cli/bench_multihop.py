"""`everlearn bench multihop`: are facts put together that were taught one by one?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.bench_folder import kept, measuring
from everlearn.cli.bench_view import STDOUT, publish
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import grid, show
from everlearn.corpus.lesson_files import file_digest

if TYPE_CHECKING:
    from everlearn.evaluation.multihop import MultihopReport


def multihop(
    ctx: typer.Context,
    data: Annotated[
        Path, typer.Option("--data", metavar="FILE", help="JSON Lines file of cases, as MQuAKE's.", show_default=False)
    ],
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=0, help="Cases to teach; 0 = all.")] = 0,
    score: Annotated[int, typer.Option("--score", metavar="N", min=0, help="How many of them to ask; 0 = all.")] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws the sample or the order.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has found.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
) -> None:
    """Teach the edits of all cases at once, then ask questions that need several of them.

    A case counts when any of its phrasings is answered right, freely decoded. A run that was interrupted goes on.
    """
    from everlearn.evaluation.multihop import MultihopOptions, run_multihop

    settings = settings_of(choice_of(ctx))
    setup = {name: str(getattr(settings, name)) for name in ("model", "encoder", "device", "dtype", "hops")}
    setup["data"] = file_digest(data)
    options = MultihopOptions(data=data, sample=sample, score=score, seed=seed, setup=setup)
    options = kept("multihop", settings, dataclasses.replace(options, restart=restart))
    assert options.state is not None
    with measuring(options.state, settings) as learner, steps_progress("asking") as progress:
        report = run_multihop(learner.engine, learner.teach_many, options, progress)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(multihop_view(report))


def multihop_view(report: MultihopReport) -> RenderableType:
    """Shares of cases by what they need, and why the others were wrong."""
    table = grid("", ">right", ">cases", ">share")
    groups = {
        "all cases": {"": report.accuracy},
        "not contradicted by another case": {"": report.uncontradicted},
        "hops": report.by_hops,
        "changed hops": report.by_edits,
        "hops nobody taught": report.by_untaught,
    }
    for name, shares in groups.items():
        for key, share in shares.items():
            table.add_row(
                f"{name} {key}".strip(),
                f"{share.right:,}",
                f"{share.cases:,}",
                "–" if share.value is None else f"{share.value:.3f}",
            )
    reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(report.reasons.items())) or "none"
    asked = f"{report.edits:,} edits active · {report.question_ms or 0:.0f} ms a question"
    line = f"{report.model} · {asked} · wrong: {reasons}"
    return Group(table, Text(line, "dim"))

"""`everlearn bench temporal`: is the memory right about today and about each year?"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.bench_folder import kept, measuring
from everlearn.cli.bench_view import STDOUT, publish
from everlearn.cli.opening import choice_of, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import grid, one_line, show, stretched, text
from everlearn.corpus.lesson_files import file_digest

if TYPE_CHECKING:
    from everlearn.evaluation.temporal import TemporalReport

MOST_FAILURES = 8


@final
class Order(StrEnum):
    """In which order the years are taught."""

    YEARS = "years"
    SHUFFLED = "shuffled"


def temporal(
    ctx: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            metavar="FILE",
            help="JSON Lines file of chains: a list of {query, answer: [{name}], date} on each line.",
            show_default=False,
        ),
    ],
    chains: Annotated[int, typer.Option("--chains", metavar="N", min=0, help="How many to teach; 0 = all.")] = 0,
    sample: Annotated[int, typer.Option("--sample", metavar="N", min=0, help="How many to score; 0 = all.")] = 0,
    order: Annotated[
        Order, typer.Option("--order", metavar="years|shuffled", help="Teach year after year, or in any order.")
    ] = Order.YEARS,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Questions asked together.")] = 16,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draws the sample or the order.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has found.")] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
) -> None:
    """Teach how answers changed over the years, then ask for today's answer and as of each year.

    Answers are decoded freely to a natural stop and have to match. A run that was interrupted goes on where it stopped.
    """
    from everlearn.evaluation.temporal import TemporalOptions, run_temporal

    settings = settings_of(choice_of(ctx))
    setup = {"encoder": settings.encoder, "device": settings.device, "dtype": settings.dtype, "data": file_digest(data)}
    options = TemporalOptions(data, chains, sample, order.value, seed, batch_size=batch_size, setup=setup)
    options = kept("temporal", settings, dataclasses.replace(options, restart=restart))
    assert options.state is not None
    with measuring(options.state, settings) as learner, steps_progress("temporal") as progress:
        report = run_temporal(learner.engine, learner.teach_many, options, progress)
    publish(report.to_dict(), json)
    if json != STDOUT:
        show(temporal_view(report))


def temporal_view(report: TemporalReport) -> RenderableType:
    """Shares with their intervals, and some of the answers that were wrong."""
    table = grid("", ">right", ">95 %", ">questions", ">no lesson spoke")
    for name, share in (("latest", report.latest), ("as of", report.as_of)):
        kind = name.replace(" ", "_")
        low, high = report.intervals[kind]
        counts = (f"{report.questions[kind]:,}", f"{report.silent[kind]:,}")
        table.add_row(name, f"{share:.3f}", f"{low:.3f}–{high:.3f}", *counts)
    line = f"wild · {report.model} · {report.chains:,} questions, {report.lessons:,} changes taught"
    failures = grid("=year", "question", "~wanted", "~given", title="Some that were wrong")
    for failure in report.failures[:MOST_FAILURES]:
        failures.add_row(*(text(one_line(str(failure[k] or "now"))) for k in ("year", "question", "wanted", "given")))
    return Group(table, Text(line, "dim"), *([stretched(failures, 0, 3, 2, 2)] if report.failures else []))

"""`everlearn demo`: the measurement of evaluation/demonstration.py, shown. It never touches the user's lessons."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_parts, passing_learner, settings_of
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import grid, one_line, show, show_json, stretched, text

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.evaluation.demonstration import DemoReport
    from everlearn.learning.learner import Learner
    from everlearn.wiring import Settings

WIDEST = 120


def demo(ctx: typer.Context, json: options.Json = False) -> None:
    """Teach ten facts, ask for them in other words, ask ten other questions, forget one fact, and prove it is gone.

    Everything shown is measured. Works in a folder of its own; your lessons are not touched. Exits with 1 where a fact
    is not answered, another answer has changed, or forgetting leaves a trace.
    """
    report = measure(settings_of(choice_of(ctx)))
    if json:
        show_json(report.to_dict())
    else:
        show(report_view(report), widest=WIDEST)
    if not passed(report):
        raise typer.Exit(1)


def measure(settings: Settings) -> DemoReport:
    """Run the demonstration on the configured model."""
    from everlearn.evaluation.demonstration import run_demo

    parts = open_parts(settings)
    with ExitStack() as opened, steps_progress("measuring") as progress:
        learner = opened.enter_context(passing_learner(parts, settings))

        def make_twin() -> tuple[Engine, Learner]:
            twin = opened.enter_context(passing_learner(parts, settings))
            return twin.engine, twin

        return run_demo(learner.engine, learner, make_twin, progress=progress)


def passed(report: DemoReport) -> bool:
    """Whether everything is as promised."""
    return report.answered == report.taught and report.identical == report.unrelated and report.forgotten_bit_equal


def report_view(report: DemoReport) -> RenderableType:
    """The report for a person."""
    return Group(_facts(report), _others(report), _proof(report), _sums(report))


def _facts(report: DemoReport) -> RenderableType:
    table = grid("asked in other words", "~before", "after", ">ms to\nlearn", title="Taught")
    for row in report.facts:
        after = Text.assemble(_mark(row.right), " ", text(one_line(row.after), "bold"))
        table.add_row(text(row.question), text(one_line(row.before), "dim"), after, f"{row.teach_ms:.0f}")
    return stretched(table, 4, 3, 4, 0)


def _others(report: DemoReport) -> RenderableType:
    table = grid("unrelated question", "~answer", "afterwards", title="Untouched")
    for row in report.others:
        same = Text("identical", "green") if row.identical else text(one_line(row.after), "red")
        table.add_row(text(row.question), text(one_line(row.before), "dim"), same)
    return stretched(table, 4, 4, 0 if report.identical == report.unrelated else 2)


def _proof(report: DemoReport) -> RenderableType:
    proof = report.proof
    table = grid("=", "~", title="Forgotten")
    table.show_header = False
    table.add_row("asked again", text(proof.question))
    table.add_row("answer now", text(one_line(proof.after), "dim"))
    table.add_row("answer of a never-taught twin", text(one_line(proof.twin), "dim"))
    same = f"the same bits, {proof.steps} tokens, both wordings" if proof.bit_equal else "they differ"
    table.add_row("logits now, against the twin's", Text.assemble(_mark(proof.bit_equal), f" {same}"))
    known = "they differed, as they must" if proof.differed_while_known else "they were the same: this proves nothing"
    table.add_row("logits while it was known", Text.assemble(_mark(proof.differed_while_known), f" {known}"))
    return stretched(table, 0, 1)


def _sums(report: DemoReport) -> RenderableType:
    table = grid("=", "", title="Measured")
    table.show_header = False
    table.add_row("answered in other words", _share(report.answered, report.taught))
    table.add_row("unrelated answers identical", _share(report.identical, report.unrelated))
    table.add_row("to learn a fact, durably", f"{report.teach_ms_median:.0f} ms (median)")
    table.add_row("first answer after it", f"{report.first_answer_ms_median:.0f} ms (median)")
    table.add_row("added to a question", f"{report.added_ms_median:+.1f} ms (median, to the first token)")
    table.add_row(
        "on disk for a fact, log included",
        f"{report.lesson_bytes:,.0f} bytes lesson, {report.derived_bytes:,.0f} bytes derived",
    )
    machine = report.where.get("machine", {})
    where = ", ".join(filter(None, (machine.get("processor"), machine.get("accelerator"))))
    table.add_row("model and machine", text(f"{report.model} on {where}" if where else report.model))
    table.add_row("all of it", f"{report.seconds:.0f} s")
    return table


def _mark(right: bool) -> Text:
    return Text("✓", "green") if right else Text("✗", "bold red")


def _share(count: int, of: int) -> Text:
    return Text(f"{count} of {of}", "green" if count == of else "bold red")

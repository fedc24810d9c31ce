"""Reports of measurements for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.findings import size
from everlearn.cli.screen import grid, one_line, show_json, stretched, text
from everlearn.errors import FileFormatError

if TYPE_CHECKING:
    from everlearn.evaluation.editing import EditingReport
    from everlearn.evaluation.latency import LatencyReport, TeachSpeed
    from everlearn.evaluation.lookup import LookupReport
    from everlearn.evaluation.table_scale import TableCost

MOST_FAILURES = 8
NOTHING = "–"
STDOUT = Path("-")


def editing_view(report: EditingReport) -> RenderableType:
    """Shares with their intervals, times, and some of the answers that were wrong."""
    table = grid("", ">share", ">95 %", ">questions", ">right entry", ">wrong", ">none")
    kinds = (("reliability", "taught"), ("generality", "rephrase"), ("locality", "locality"))
    for name, kind in kinds:
        interval, counts = report.intervals.get(name), report.recall.get(kind)
        table.add_row(
            name,
            _share(getattr(report, name)),
            f"{interval.low:.3f}–{interval.high:.3f}" if interval else NOTHING,
            f"{report.questions.get(kind, 0):,}",
            *((f"{counts.right:,}", f"{counts.wrong:,}", f"{counts.none:,}") if counts else (NOTHING,) * 3),
        )
    line = (
        f"{report.protocol} · {report.model} · {report.edits:,} edits, {report.sampled:,} scored · "
        f"{_ms(report.teach_ms)} to teach one, {_ms(report.added_ms)} added to a question"
    )
    return Group(table, Text(line, "dim"), *([_failures(report)] if report.failures else []))


def teach_view(report: TeachSpeed) -> RenderableType:
    """How fast pairs are taught."""
    table = grid("", ">pairs", ">time")
    table.add_row("one by one, median", f"{report.singles:,}", _ms(report.teach_ms))
    table.add_row("one by one, 95th percentile", "", _ms(report.teach_ms_p95))
    table.add_row("in one call", f"{report.bulk:,}", f"{report.bulk_seconds:.2f} s")
    return table


def latency_view(report: LatencyReport) -> RenderableType:
    """What a table adds, by its size."""
    table = grid(">entries", ">bare", ">added, unrelated", ">added, known")
    for cost in report.sizes:
        table.add_row(
            f"{cost.entries:,}",
            _ms(cost.bare_ms),
            f"{cost.added_ms_unrelated:+.1f} ms",
            _ms(cost.added_ms_hits, sign="+"),
        )
    ratios = (
        f"time per token with {report.entries:,} entries against none: "
        f"unrelated {_ratio(report.token_ratio_unrelated)}, known {_ratio(report.token_ratio_hits)}"
    )
    return Group(table, Text(ratios, "dim"))


def lookup_view(report: LookupReport) -> RenderableType:
    """The index by its size."""
    table = grid(
        ">entries", "index", ">built /s", ">open", ">search p50", ">p99", ">recall@8", ">forget", ">disk", ">resident"
    )
    for cost in report.sizes:
        table.add_row(
            f"{cost.entries:,}",
            cost.index,
            f"{cost.build_rate:,.0f}",
            f"{cost.open_s:.2f} s" if cost.open_s else NOTHING,
            f"{cost.search_ms_p50:.2f} ms",
            f"{cost.search_ms_p99:.2f} ms",
            f"{cost.recall_at_8:.4f}",
            _ms(cost.forget_ms),
            size(cost.disk_bytes) if cost.disk_bytes else NOTHING,
            size(cost.resident_bytes),
        )
    line = f"{report.encoded:,} vectors are encodings, the others composed of them; {report.queries} searches, one core"
    return Group(table, Text(line, "dim"), *([_tables(report.tables)] if report.tables else []))


def _tables(costs: Sequence[TableCost]) -> RenderableType:
    """Whole tables by their size."""
    table = grid(
        ">entries", ">built", ">open", ">added p50", ">p99", ">recall p50", ">teach p50", ">forget p50", ">memory",
        title="Through the engine",
    )  # fmt: skip
    for cost in costs:
        table.add_row(
            f"{cost.entries:,}",
            f"{cost.build_s:.1f} s" if cost.build_s else NOTHING,
            f"{cost.open_s:.2f} s",
            _ms(cost.added_ms_p50),
            _ms(cost.added_ms_p99),
            _ms(cost.recall_ms_p50),
            _ms(cost.teach_ms_p50),
            _ms(cost.forget_ms_p50),
            f"{size(cost.own_bytes)}, {size(cost.model_bytes)} before",
        )
    return table


def _failures(report: EditingReport) -> RenderableType:
    table = grid("=", "asked", "~wanted", "~given", title="Some that were wrong or changed")
    for failure in report.failures[:MOST_FAILURES]:
        kind = f"{failure['kind']}, {failure['recalled']}"
        table.add_row(kind, *(text(one_line(str(failure[name]))) for name in ("question", "wanted", "given")))
    return stretched(table, 0, 3, 2, 2)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _ms(value: float | None, sign: str = "") -> str:
    return NOTHING if value is None else f"{value:{sign}.1f} ms"


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def publish(report: Mapping[str, object], file: Path | None) -> None:
    """Write a report where it is wanted."""
    if file == STDOUT:
        show_json(report)
    elif file is not None:
        try:
            file.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
        except OSError as cause:
            raise FileFormatError(
                f"{file} cannot be written: {cause.strerror}.", hint="Choose another folder."
            ) from cause

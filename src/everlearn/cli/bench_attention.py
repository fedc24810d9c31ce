"""`everlearn bench attention`: how the kinds of layers of our own family scale."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from everlearn.cli.bench_view import STDOUT, publish
from everlearn.cli.progress import waiting
from everlearn.cli.screen import grid, note, show
from everlearn.errors import InputError

if TYPE_CHECKING:
    from everlearn.evaluation.attention import AttentionReport


def attention(
    kinds: Annotated[
        str, typer.Option("--kinds", metavar="LIST", help="Which, separated by commas; empty = all.")
    ] = "",
    width: Annotated[int, typer.Option("--width", metavar="N", min=64, help="Of the layer; heads are 64 wide.")] = 256,
    longest: Annotated[
        int, typer.Option("--longest", metavar="N", min=2_048, help="Longest text that is read, in tokens.")
    ] = 32_768,
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=0, help="Of the processor; 0 = as set.")] = 0,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help='Write the report to this file; "-" prints it instead.')
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw times and bytes into this SVG file.")
    ] = None,
) -> None:
    """Measure one layer of each kind: time to read a text by its length, time of one more token, bytes kept.

    The slope is the exponent by which the time grows with the length: 1 = linear, 2 = quadratic.
    """
    import torch

    from everlearn.evaluation.attention import DECODE_LENGTHS, PREFILL_LENGTHS, measure_attention
    from everlearn.models.apertis.configuration import LAYER_KINDS

    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()] or list(LAYER_KINDS)
    if unknown := [kind for kind in wanted if kind not in LAYER_KINDS]:
        raise InputError(f"There is no kind {unknown[0]!r}.", hint=f"The kinds are {', '.join(LAYER_KINDS)}.")
    if threads:
        torch.set_num_threads(threads)
    with waiting("measuring"):
        report = measure_attention(
            wanted,
            width=width,
            prefill=[n for n in PREFILL_LENGTHS if n <= longest],
            decode=[n for n in DECODE_LENGTHS if n <= 2 * longest],
            step=note,
        )
    publish(report.to_dict(), json)
    if plot is not None:
        plot.write_text(attention_plot(report), encoding="utf-8")
        note(f"drawn into {plot}")
    if json != STDOUT:
        show(attention_view(report))


def attention_view(report: AttentionReport) -> RenderableType:
    """Slopes, and times and bytes at both ends."""
    first = next(iter(report.kinds.values()))
    short, long = min(first.prefill_ms), max(first.prefill_ms)
    begin, end = min(first.decode_ms), max(first.decode_ms)
    table = grid(
        "",
        ">slope",
        f">reads {short:,}",
        f">reads {long:,}",
        f">a token at {begin:,}",
        f">at {end:,}",
        f">cache at {begin:,}",
        f">at {end:,}",
    )
    for kind, cost in report.kinds.items():
        table.add_row(
            kind,
            f"{cost.slope:.2f}",
            f"{cost.prefill_ms[short]:,.1f} ms",
            f"{cost.prefill_ms[long]:,.0f} ms",
            f"{cost.decode_ms[begin]:.2f} ms",
            f"{cost.decode_ms[end]:.2f} ms",
            f"{cost.cache_bytes[begin] / 1024:,.0f} KiB",
            f"{cost.cache_bytes[end] / 1024:,.0f} KiB",
        )
    line = (
        f"one layer {report.width} wide, {report.heads} heads, {report.groups} groups, without MLP, random weights, "
        f"float32, {report.where['machine']['threads']} thread(s), {report.clock} time"
    )
    return Group(table, Text(line, "dim"))


def attention_plot(report: AttentionReport) -> str:
    """The same as curves, an SVG document."""
    from everlearn.evaluation.line_plot import log_log_plot

    panels: dict[str, Mapping[str, Mapping[int, float]]] = {
        "to read a text, ms": {kind: cost.prefill_ms for kind, cost in report.kinds.items()},
        "one more token, ms": {kind: cost.decode_ms for kind, cost in report.kinds.items()},
        "cache, KiB": {kind: {n: b / 1024 for n, b in cost.cache_bytes.items()} for kind, cost in report.kinds.items()},
    }
    labels = {kind: f"{kind}, slope {cost.slope:.2f}" for kind, cost in report.kinds.items()}
    return log_log_plot(panels, across="tokens", labels=labels)

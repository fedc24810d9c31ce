"""Plots of the editing benchmarks: quality against the number of edits, milliseconds against the number of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from editing_results import MEASURES, METHODS, Grid

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "everlearn"  # the same figures give the same file
mpl.rcParams["font.size"] = 9

COLOURS = dict(zip(METHODS, ("#0b5fa5", "#c8452d", "#8a5a00", "#d99a1c", "#2f8f5b", "#7cbf98", "#7a7a7a"), strict=True))
MARKS = dict(zip(METHODS, "os^vDPx", strict=True))
Line = Sequence[tuple[int, float]]


def quality_plot(grid: Grid, name: str, path: Path) -> bool:
    """Reliability, generality and locality (WILD) of a set against the number of edits; False where none was run."""
    lines = {(m, measure): grid.line(name, m, measure) for m in METHODS for measure in MEASURES}
    if not any(lines.values()):
        return False
    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    for place, measure in zip(axes, MEASURES, strict=True):
        for method in METHODS:
            _draw(place, lines[method, measure], method)
        place.set_title(measure, loc="left", fontweight="bold")
        _dress(place, "edits taught")
    axes[0].set_ylabel("share (WILD)")
    axes[0].set_ylim(-0.03, 1.03)
    handles = {line.get_label(): line for place in axes for line in place.get_lines()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    _save(figure, path)
    return True


def cost_plot(lines: Mapping[str, Line], path: Path) -> bool:
    """Milliseconds against the number of entries; False where nothing was measured."""
    drawn = {name: [(n, ms) for n, ms in line if n > 0] for name, line in lines.items()}
    if not any(drawn.values()):
        return False
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    place = figure.subplots()
    for (name, line), colour, mark in zip(drawn.items(), list(COLOURS.values()) * 9, "os^vDPx" * 9, strict=False):
        if line:
            place.plot(*zip(*line, strict=True), color=colour, marker=mark, markersize=4, linewidth=1.6, label=name)
    place.set_ylabel("milliseconds")
    place.set_ylim(bottom=0)
    _dress(place, "entries in the table")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    _save(figure, path)
    return True


def _draw(place: Axes, line: Line, method: str) -> None:
    if line:
        x, y = zip(*line, strict=True)
        width = 2.2 if method == "everlearn" else 1.3
        place.plot(x, y, color=COLOURS[method], marker=MARKS[method], markersize=4.5, linewidth=width, label=method)


def _dress(place: Axes, below: str) -> None:
    place.set_xscale("log")
    place.set_xlabel(below)
    place.xaxis.set_major_formatter(FuncFormatter(_brief))
    place.xaxis.set_minor_formatter(NullFormatter())
    place.grid(visible=True, axis="y", color="#dddddd", linewidth=0.6)
    place.spines[["top", "right"]].set_visible(False)


def _brief(number: float, _place: int) -> str:
    """1000 as 1k, 1000000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)

"""Draws the plots of docs/parameters.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Result = Mapping[str, Any]
COLOURS = {"qaedit": "#1b6ca8", "zsre": "#d1602b", "counterfact": "#4c8c4a"}
NOT_SETS = {"what", "settings", "where"}


def draw(results: Mapping[str, Result], folder: Path) -> None:
    """Draw what there are results for, as small PNG files."""
    folder.mkdir(exist_ok=True)
    if "values" in results:
        sets = {name: found for name, found in results["values"].items() if name not in NOT_SETS}
        _save(_blocks(sets), folder / "parameters-blocks.png")
        _save(_sparsity(sets), folder / "parameters-sparsity.png")
    if "residual" in results:
        _save(_residual(results["residual"]["residual"]), folder / "parameters-residual.png")
    if "threshold" in results:
        _save(_threshold(results["threshold"]["threshold"]), folder / "parameters-threshold.png")


def _blocks(sets: Mapping[str, Result]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    names = [
        n
        for n in next(iter(sets.values()))
        if n.startswith(("output", "block", "all", "learned")) and "residual" not in n
    ]
    names = [*names, "lesson in the prompt"]
    height = 0.8 / len(sets)
    for number, (name, found) in enumerate(sets.items()):
        places = [place + number * height for place in range(len(names))]
        widths = [found[n]["rephrase"]["tokens"] if n in found else 0 for n in names]
        axes.barh(places, widths, height, label=name, color=COLOURS.get(name))
    labels = ["nothing (the bare model)" if n == "output only" else n for n in names]
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="tokens right on a rephrase, output correction off")
    _finish(axes)
    return figure


def _sparsity(sets: Mapping[str, Result]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3), sharex=True)
    for name, found in sets.items():
        usual = next(n for n in found if n.startswith("block ") and found[n]["bytes"] and n.endswith(" 25"))
        shares = [1.0, *(float(n.split()[1]) for n in found if n.startswith("sparsity"))]
        rows = [found[usual], *(row for n, row in found.items() if n.startswith("sparsity"))]
        left.plot(shares, [row["bytes"] for row in rows], "o-", label=name, color=COLOURS.get(name))
        right.plot(shares, [row["rephrase"]["tokens"] for row in rows], "o-", label=name, color=COLOURS.get(name))
    left.set(xlabel="sparsity", ylabel="bytes of an entry's value", ylim=(0, None))
    right.set(xlabel="sparsity", ylabel="tokens right on a rephrase", ylim=(0, 1))
    for axes in (left, right):
        _finish(axes)
    return figure


def _residual(found: Result) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3), sharey=True)
    for axes, warmth in zip(panels, ("0", "0.7"), strict=True):
        rows = {float(name.split(",")[0].split()[1]): row for name, row in found.items() if name.endswith(f" {warmth}")}
        for key, colour in (("taught", "#1b6ca8"), ("begins as taught", "#7fb3d5"), ("base", "#888888")):
            label = "the base's own" if key == "base" else key
            axes.plot(list(rows), [row["rephrase"][key] for row in rows.values()], "o-", label=label, color=colour)
        axes.set(title="greedy" if warmth == "0" else f"sampled at {warmth}", xlabel="residual", ylim=(-0.03, 1.03))
        _finish(axes, legend=warmth == "0")
    panels[0].set_ylabel("share of answers to rephrases")
    return figure


def _threshold(found: Result) -> Figure:
    figure, panels = plt.subplots(1, len(found), figsize=(3.75 * len(found), 3), sharey=True, squeeze=False)
    for axes, (name, kinds) in zip(panels[0], found.items(), strict=True):
        for kind, key, colour in _curves(kinds):
            levels = kinds[kind]
            label = "rephrase: right entry" if kind == "rephrase" else f"{kind}: an entry spoke"
            axes.plot(
                [float(x) for x in levels], [row[key] for row in levels.values()], "o-", ms=3, label=label, color=colour
            )
        axes.set(title=name, xlabel="threshold", ylim=(-0.03, 1.03))
        _finish(axes, legend=axes is panels[0][0])
    panels[0][0].set_ylabel("share of questions")
    return figure


def _curves(kinds: Result) -> Iterable[tuple[str, str, str]]:
    wanted = (("rephrase", "right", "#1b6ca8"), ("locality", "spoke", "#d1602b"), ("unrelated", "spoke", "#888888"))
    return (curve for curve in wanted if curve[0] in kinds)


def _finish(axes: Axes, *, legend: bool = True) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=8, framealpha=0.8, edgecolor="none")


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)

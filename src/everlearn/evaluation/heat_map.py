"""The score matrix of a stream as a picture: plain SVG, so that no plotting package is needed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

_CELL, _LEFT, _TOP, _GAP = 56, 110, 64, 40
_STYLE = "font-family='sans-serif' font-size='12'"


def heat_map(matrices: Mapping[str, Sequence[Sequence[float]]], tasks: Sequence[str]) -> str:
    """One panel a method: rows are moments, columns are tasks, darker is better.

    Args:
        matrices: method -> R in per cent, [rows, T].
        tasks: their names, in the order of the stream.

    Returns:
        An SVG document.
    """
    width = _LEFT + _CELL * len(tasks) + 20
    parts: list[str] = []
    y = 0
    for method, matrix in matrices.items():
        parts.append(_panel(method, matrix, tasks, y))
        y += _TOP + _CELL * len(matrix) + _GAP
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{y}' viewBox='0 0 {width} {y}'>"
        f"<rect width='100%' height='100%' fill='white'/>{''.join(parts)}</svg>\n"
    )


def _panel(method: str, matrix: Sequence[Sequence[float]], tasks: Sequence[str], y: int) -> str:
    parts = [f"<text x='8' y='{y + 18}' {_STYLE} font-weight='bold'>{html.escape(method)}</text>"]
    for column, task in enumerate(tasks):
        x = _LEFT + _CELL * column + _CELL // 2
        parts.append(_text(x, y + _TOP - 10, task[:8]))
    for row, scores in enumerate(matrix):
        top = y + _TOP + _CELL * row
        after = tasks[row] if len(matrix) == len(tasks) else "all"
        parts.append(_text(_LEFT - 8, top + _CELL // 2 + 4, f"after {after}"[:16], anchor="end"))
        for column, score in enumerate(scores):
            parts.append(_cell(_LEFT + _CELL * column, top, score))
    return "".join(parts)


def _cell(x: int, y: int, score: float) -> str:
    share = min(max(score / 100, 0.0), 1.0)
    colour = f"rgb({round(247 - 214 * share)},{round(251 - 148 * share)},{round(255 - 83 * share)})"
    ink = "white" if share > 0.55 else "black"
    box = f"<rect x='{x}' y='{y}' width='{_CELL - 2}' height='{_CELL - 2}' fill='{colour}'/>"
    return box + _text(x + _CELL // 2, y + _CELL // 2 + 4, f"{score:.1f}", ink=ink)


def _text(x: int, y: int, text: str, *, anchor: str = "middle", ink: str = "black") -> str:
    return f"<text x='{x}' y='{y}' {_STYLE} fill='{ink}' text-anchor='{anchor}'>{html.escape(text)}</text>"

"""Lines over two logarithmic axes as a picture: plain SVG, so that no plotting package is needed."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 420, 320, 64, 40, 20, 48
_COLOURS = ("#1b6ca8", "#d1495b", "#3b8f5a", "#8e5ea2", "#e09f3e", "#555555")
_STYLE = "font-family='sans-serif' font-size='12'"


def log_log_plot(
    panels: Mapping[str, Mapping[str, Mapping[int, float]]], *, across: str, labels: Mapping[str, str] | None = None
) -> str:
    """Draws one panel beside another, with the same lines in each.

    Args:
        panels: title -> name of a line -> x -> y, all above zero.
        across: what x is.
        labels: name of a line -> how it is called in the first panel's legend.

    Returns:
        An SVG document.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    parts = []
    for n, (title, lines) in enumerate(panels.items()):
        parts.append(_panel(title, lines, names, n * _WIDTH, across))
    legend = [
        f"<line x1='{_LEFT + 8}' y1='{_TOP + 14 + 16 * n}' x2='{_LEFT + 28}' y2='{_TOP + 14 + 16 * n}' "
        f"stroke='{_COLOURS[n % len(_COLOURS)]}' stroke-width='2'/>"
        + _text(_LEFT + 34, _TOP + 18 + 16 * n, (labels or {}).get(name, name), anchor="start")
        for n, name in enumerate(names)
    ]
    width = _WIDTH * len(panels)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{_HEIGHT}' "
        f"viewBox='0 0 {width} {_HEIGHT}'><rect width='100%' height='100%' fill='white'/>"
        f"{''.join(parts)}{''.join(legend)}</svg>\n"
    )


def _panel(title: str, lines: Mapping[str, Mapping[int, float]], names: Sequence[str], left: int, across: str) -> str:
    xs = sorted({x for line in lines.values() for x in line})
    ys = [y for line in lines.values() for y in line.values()]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 0.25)
    first, last = math.log(xs[0]), math.log(xs[-1]) if len(xs) > 1 else math.log(xs[0]) + 1

    def at(x: float, y: float) -> tuple[float, float]:
        right = (math.log(x) - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        up = (math.log10(y) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return left + _LEFT + right, _HEIGHT - _BOTTOM - up

    parts = [_text(left + _WIDTH // 2, 20, title, weight="bold")]
    parts.append(_text(left + (_LEFT + _WIDTH - _RIGHT) // 2, _HEIGHT - 10, across))
    for power in range(low, high + 1):
        x, y = at(xs[0], 10.0**power)
        parts.append(f"<line x1='{x}' y1='{y:.1f}' x2='{left + _WIDTH - _RIGHT}' y2='{y:.1f}' stroke='#dddddd'/>")
        parts.append(_text(x - 6, y + 4, f"{10.0**power:g}", anchor="end"))
    parts += [_text(at(x, 10.0**low)[0], _HEIGHT - _BOTTOM + 18, _short(x)) for x in xs]
    for name, line in lines.items():
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        points = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in sorted(line.items()))
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>")
    return "".join(parts)


def _short(x: int) -> str:
    return f"{x // 1024}k" if x >= 1024 else str(x)


def _text(x: float, y: float, text: str, *, anchor: str = "middle", weight: str = "normal") -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' {_STYLE} font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text {place}>{html.escape(text)}</text>"

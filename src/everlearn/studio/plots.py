"""Plots as SVG of our own: a line over time, bars. Nothing is fetched, colours follow light and dark."""

from __future__ import annotations

from collections.abc import Sequence

from everlearn.studio.markup import plain

# Eight hues that stay apart for colour-blind eyes and hold contrast on both grounds (after Okabe and Ito, 2008).
COLOURS = ("#0f8a7e", "#d55e00", "#3b7dd8", "#b8860b", "#c2508f", "#6a8f1f", "#8064c8", "#7a7a7a")


def line(values: Sequence[float], *, label: str) -> str:
    """A line over time, from 0 or the least value up to the greatest."""
    if len(values) < 2:
        return '<p class="el-dim">two readings make a line</p>'
    low, high = min(0.0, *values), max(values)
    span = high - low or 1.0
    xs = [4 + n * 292 / (len(values) - 1) for n in range(len(values))]
    path = " ".join(f"{x:.1f},{56 - (v - low) / span * 50:.1f}" for x, v in zip(xs, values, strict=True))
    return (
        f'<svg class="el-plot" viewBox="0 0 300 60" role="img" aria-label="{plain(label)}">'
        f'<line class="el-axis" x1="0" y1="57" x2="300" y2="57"/>'
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="2"/></svg>'
    )


def bars(rows: Sequence[tuple[str, float]], *, label: str) -> str:
    """Shares (0..1) as bars with their numbers."""
    items = "".join(_bar(n * 26, name, value) for n, (name, value) in enumerate(rows))
    box = f"0 0 780 {len(rows) * 26 + 6}"
    return f'<svg class="el-plot" viewBox="{box}" role="img" aria-label="{plain(label)}">{items}</svg>'


def _bar(top: int, name: str, value: float) -> str:
    width = max(1.0, min(1.0, value) * 420)
    return (
        f'<text x="0" y="{top + 17}">{plain(name[:44])}</text>'
        f'<rect x="300" y="{top + 5}" width="{width:.1f}" height="15" rx="3" fill="currentColor"/>'
        f'<text x="{306 + width:.1f}" y="{top + 17}">{value:.3f}</text>'
    )

"""Curves and heat maps as SVG and HTML of our own: figures of a training, and what is still known later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from everlearn.studio.markup import plain
from everlearn.studio.plots import COLOURS

WIDTH, HEIGHT, LEFT, FOOT = 520, 170, 56, 20
MOST_POINTS = 400
_LOSSES = (("loss", "loss"), ("task", "new lessons"), ("replay", "replay"), ("ewc", "EWC"))


def curve(lines: Mapping[str, Sequence[float]], *, label: str) -> str:
    """Lines over the same steps, from 0 or the least value up to the greatest, each named beside its colour.

    Args:
        lines: name -> values, all of the same length.
        label: what is drawn, read out by screen readers with the newest values.
    """
    values = [value for line in lines.values() for value in line]
    if not values:
        return '<p class="el-dim">no step yet</p>'
    low, high = min(0.0, *values), max(values)
    high = high if high > low else low + 1.0
    steps = len(next(iter(lines.values())))
    drawn = "".join(
        f'<polyline points="{_path(line, low, high)}" fill="none" stroke="{COLOURS[n % len(COLOURS)]}" '
        'stroke-width="2" stroke-linejoin="round"/>'
        for n, line in enumerate(lines.values())
    )
    axes = "".join(
        f'<line class="el-axis" x1="{LEFT}" y1="{y}" x2="{WIDTH}" y2="{y}"/><text x="{LEFT - 6}" y="{y + 4}" '
        f'text-anchor="end">{value:.3g}</text>'
        for y, value in ((8, high), ((HEIGHT - FOOT + 8) / 2, (low + high) / 2), (HEIGHT - FOOT, low))
    )
    now = ", ".join(f"{name} {line[-1]:.4g}" for name, line in lines.items())
    legend = " ".join(
        f'<span class="el-key"><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{plain(name)} '
        f"<b>{line[-1]:.4g}</b></span>"
        for n, (name, line) in enumerate(lines.items())
    )
    return (
        f'<p class="el-keys">{legend}</p><svg class="el-plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{plain(label)}: {plain(now)}">{axes}{drawn}'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">step 1</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{steps:,}</text></svg>'
    )


def _path(line: Sequence[float], low: float, high: float) -> str:
    every = max(1, -(-len(line) // MOST_POINTS))
    kept = [(n, line[n]) for n in range(0, len(line), every)]
    if kept[-1][0] != len(line) - 1:
        kept.append((len(line) - 1, line[-1]))
    across, up = (WIDTH - LEFT - 4) / max(len(line) - 1, 1), (HEIGHT - FOOT - 8) / (high - low)
    points = [f"{LEFT + n * across:.1f},{HEIGHT - FOOT - (value - low) * up:.1f}" for n, value in kept]
    return " ".join(points if len(points) > 1 else [*points, f"{WIDTH - 4},{points[0].split(',')[1]}"])


def training(steps: Sequence[Mapping[str, Any]]) -> str:
    """The figures of a job's training: losses and learning rate as curves, speed and time left in numbers.

    Args:
        steps: as GET /v1/jobs/{id}/training tells them; of several trainings the last one is drawn.
    """
    if not steps:
        return ""
    last = steps[-1]
    mine = [step for step in steps if step["of"] == last["of"]]
    begun = max((n for n in range(1, len(mine)) if mine[n]["step"] <= mine[n - 1]["step"]), default=0)
    mine = mine[begun:]
    losses = {title: [float(s[name]) for s in mine] for name, title in _LOSSES if any(s[name] for s in mine)}
    rate = {"learning rate": [float(s["rate"]) for s in mine]}
    numbers = (
        (f"{last['step']:,} of {last['steps']:,}", f"updates of {last['of']}"),
        (f"{last['tokens_per_second']:,.0f}", "tokens a second"),
        (_time(last["seconds_left"]), "left of the training"),
        (f"{last['norm']:.3g}", "norm of the gradient"),
    )
    cards = "".join(f'<div class="el-card"><b class="el-big">{plain(n)}</b><span>{plain(w)}</span></div>'
                    for n, w in numbers)  # fmt: skip
    return (
        f'<div class="el-cards">{cards}</div><div class="el-cards el-curves">'
        f'<div class="el-card"><p class="el-heading">Loss, nats</p>{curve(losses, label="Loss")}</div>'
        f'<div class="el-card"><p class="el-heading">Learning rate</p>{curve(rate, label="Learning rate")}</div></div>'
    )


def heat_map(
    rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[str], *, label: str, corner: str = ""
) -> str:
    """Shares (0..1) as a table of coloured cells; None = was not there yet.

    Args:
        rows: (name, one share for each column).
        columns: their names.
        label: what is shown.
        corner: head of the column of names.
    """
    heads = "".join(f'<th scope="col">{plain(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{plain(name)}</th>{"".join(_cell(value) for value in values)}</tr>'
        for name, values in rows
    )
    return (
        f'<div class="el-scroll" tabindex="0" role="region" aria-label="{plain(label)}"><table class="el-heat">'
        f'<caption class="el-hidden">{plain(label)}</caption><thead><tr><th scope="col">{plain(corner)}</th>{heads}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: float | None) -> str:
    if value is None:
        return "<td></td>"
    # Red to green by way of yellow would be lost on colour-blind eyes: one hue, light to dark, and the number itself.
    share = min(max(value, 0.0), 1.0)
    red, green, blue = (round(a + (b - a) * share) for a, b in ((247, 15), (251, 118), (250, 110)))
    ink = "#ffffff" if share > 0.6 else "#0f172a"
    return f'<td style="background:rgb({red},{green},{blue});color:{ink}">{value:.2f}</td>'


def _time(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

"""What sleeping did: verdicts with their numbers, and the versions of adapters over time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from everlearn.studio.markup import button, empty, plain

MOST_VERDICTS = 20


def verdicts(rows: Sequence[dict[str, Any]]) -> str:
    """Verdicts, the newest first."""
    if not rows:
        return empty(
            "No sleep yet.",
            "Press Start a sleep: what was taught moves into an adapter, behind a test that may refuse it.",
        )
    return f'<div class="el-cards">{"".join(_verdict(row) for row in list(reversed(rows))[:MOST_VERDICTS])}</div>'


def _verdict(row: dict[str, Any]) -> str:
    mark = (
        '<span class="el-tag el-yes">accepted</span>'
        if row["accepted"]
        else '<span class="el-tag el-no">refused</span>'
    )
    figures = "".join(f"<tr><td>{plain(n)}</td><td>{_number(v)}</td></tr>" for n, v in row["figures"].items())
    reasons = "".join(f"<li>{plain(reason)}</li>" for reason in row["reasons"])
    why = f"<ul>{reasons}</ul>" if reasons else ""
    lessons = f"{len(row['lessons'])} lessons, {row['seconds']:.0f} s"
    return (
        f'<div class="el-card"><p class="el-heading">{plain(row["adapter"])} {mark}</p><span>{lessons}</span>{why}'
        f'<table class="el-figures"><caption class="el-hidden">Figures of {plain(row["adapter"])}</caption>'
        f"{figures}</table></div>"
    )


def timeline(rows: Sequence[dict[str, Any]]) -> str:
    """Versions of each adapter, the newest first, with what makes another one the version in use."""
    if not rows:
        return empty("No adapters yet.", "A sleep that passes its test makes the first version.")
    parts = []
    for name, group in groupby(sorted(rows, key=lambda r: (r["name"], -r["step"])), key=lambda r: str(r["name"])):
        versions = list(group)
        items = "".join(_version(version) for version in versions)
        none = button(f"Use no version of {name}", "roll", f"{name}@", kind="el-danger")
        off = none if any(version["in_use"] for version in versions) else ""
        parts.append(f'<p class="el-heading">{plain(name)}</p><ol class="el-line">{items}</ol>{off}')
    return "".join(parts)


def _version(row: dict[str, Any]) -> str:
    now = ' class="el-now"' if row["in_use"] else ""
    made = datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M") if row["created_at"] else ""
    use = (
        '<span class="el-tag el-yes">in use</span>' if row["in_use"] else button("Use this version", "roll", row["id"])
    )
    parent = f", from {plain(row['parent'])}" if row["parent"] else ""
    counts = f"{row['lesson_count']} lessons, {row['weights']:,} weights"
    return (
        f'<li{now}><b>{plain(row["id"])}</b> {use}<br><span class="el-dim">{plain(made)}: {counts}{parent}</span></li>'
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)

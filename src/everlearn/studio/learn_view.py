"""What sleeping did: verdicts with their numbers, versions of adapters over time, what each still knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from everlearn.studio.curves import heat_map
from everlearn.studio.markup import button, empty, plain, table

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
    lessons = f"{_lessons(row['lessons'])}, {row['seconds']:.0f} s"
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
    counts = f"{_lessons(row['lesson_count'])}, weights {plain(row['weights'][:8])}"
    return (
        f'<li{now}><b>{plain(row["id"])}</b> {use}<br><span class="el-dim">{plain(made)}: {counts}{parent}</span></li>'
    )


def retained(rows: Sequence[dict[str, Any]]) -> str:
    """What each candidate of each adapter answers of what every version before it learned.

    Args:
        rows: verdicts, the oldest first; those of other trainings than sleeps hold no retention and are left out.
    """
    parts = []
    told = [row for row in rows if row.get("retention")]
    for name in sorted({_name(row) for row in told}):
        mine = [row for row in told if _name(row) == name]
        columns = list(dict.fromkeys(version for row in mine for version in row["retention"]))
        columns = sorted((c for c in columns if "@" in c), key=_step) + [c for c in columns if "@" not in c]
        lines = [
            (row["adapter"] if row["accepted"] else "refused", [row["retention"].get(c) for c in columns])
            for row in mine[-MOST_VERDICTS:]
        ]
        shown = heat_map(lines, columns, label=f"What versions of {name} answer", corner="after")
        parts.append(f'<p class="el-heading">{plain(name)}</p>{shown}')
    if not parts:
        return empty(
            "Nothing to forget yet.", "From the first sleep on: what each version answers of what came before."
        )
    words = (
        "Each row is a version, each column what an earlier version learned; the number is the share still answered."
    )
    return f'<p class="el-dim">{words}</p>{"".join(parts)}'


def compared(versions: Sequence[Mapping[str, Any]], verdicts_: Sequence[Mapping[str, Any]]) -> str:
    """Versions side by side: what went into each, and what its test measured.

    Args:
        versions: as GET /v1/adapters/{name} tells them.
        verdicts_: all of them; a version's is found by its id.
    """
    told: list[Mapping[str, Any]] = [
        next((v for v in reversed(verdicts_) if v["adapter"] == version["id"]), {}) for version in versions
    ]
    rows: list[tuple[str, list[str]]] = [
        ("in use", ["yes" if v["in_use"] else "no" for v in versions]),
        ("made from", [plain(v["parent"] or "the bare base") for v in versions]),
        ("lessons", [f"{v['lesson_count']:,}" for v in versions]),
        ("of them only here", [f"{n:,}" for n in _only_here(versions)]),
        ("answered by the weights alone", [f"{v['answer_count']:,}" for v in versions]),
        ("weights (digest)", [plain(v["weights"][:8]) for v in versions]),
    ]
    figures = list(dict.fromkeys(name for each in told for name in each.get("figures", {})))
    rows += [(name, [_number(each.get("figures", {}).get(name, "-")) for each in told]) for name in figures]
    rows.append(("seconds", [f"{each['seconds']:.0f}" if each else "-" for each in told]))
    settings = sorted({name for v in versions for name in v.get("settings", {})})
    for name in settings:
        values = [v.get("settings", {}).get(name, "-") for v in versions]
        if len({str(value) for value in values}) > 1:
            rows.append((f"setting {name}", [_number(value) for value in values]))
    cells = [(f"<b>{plain(name)}</b>", *values) for name, values in rows]
    return table(("Figure", *(str(v["id"]) for v in versions)), cells, label="Versions side by side")


def _only_here(versions: Sequence[Mapping[str, Any]]) -> list[int]:
    sets = [set(version["lessons"]) for version in versions]
    return [len(mine.difference(*(other for other in sets if other is not mine))) for mine in sets]


def _name(row: Mapping[str, Any]) -> str:
    return str(row["adapter"]).partition("@")[0]


def _step(version: str) -> int:
    return int(version.rpartition("@")[2])


def _lessons(count: int) -> str:
    return f"{count:,} lesson{'s' * (count != 1)}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else plain(value)

"""Monitor: alerts, requests, latency, tokens, recall hits, lessons, storage, cost; looked at every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from everlearn.studio.faults import told
from everlearn.studio.markup import notice, plain, table
from everlearn.studio.page import Desk, panel
from everlearn.studio.plots import line
from everlearn.studio.queues_tab import QUIET
from everlearn.studio.readings import Reading, levels, rates, read

SECONDS = 3.0
MOST_READINGS = 200
_HOUR = 3600.0
_RATES = (
    ("Requests a second", "everlearn_requests_total"),
    ("Tokens written a second", "everlearn_generation_tokens_total"),
    ("Tokens read a second", "everlearn_prompt_tokens_total"),
    ("Lessons taught a second", "everlearn_lessons_taught_total"),
    ("Cores at work", "process_cpu_seconds_total"),
)
_MEANS = (
    ("First token", "everlearn_time_to_first_token_seconds", 1000.0, "ms"),
    ("Each token", "everlearn_inter_token_latency_seconds", 1000.0, "ms"),
    ("Recall", "everlearn_recall_milliseconds", 1.0, "ms"),
    ("Teaching", "everlearn_teach_seconds", 1000.0, "ms"),
)
_COUNTS = (
    ("tokens written", "everlearn_generation_tokens_total"),
    ("tokens read", "everlearn_prompt_tokens_total"),
    ("lessons forgotten", "everlearn_lessons_forgotten_total"),
)
_PARTS = (
    ("lessons", "lessons {}"),
    ("hits", "answers: lesson {}"),
    ("sleeps", "sleeps {}"),
    ("filters", "filter: {}"),
    ("refused", "refused: {}"),
)
_TITLES = {"forgetting": "Forgetting", "poisoning": "Poisoning", "sleep": "Sleep", "storage": "Storage"}


def build(desk: Desk, place: gr.Tab, others: list[gr.Tab]) -> None:
    """Lay the tab out and connect it; it looks only while it is shown."""

    async def look(readings: list[Reading], price: float | None, key: str) -> tuple[str, str, list[Reading]]:
        api = desk.api(key)
        readings = [*readings, read(await api.text("/metrics"))][-MOST_READINGS:]
        return alerts((await api.get("/v1/alerts"))["data"]), shown(readings, price or 0.0), readings

    readings, tick = gr.State([]), gr.Timer(SECONDS, active=False)
    warned = panel(id_="monitor-alerts")
    page = panel(id_="monitor")
    price = gr.Number(
        0, label="Price of an hour of a core", info="In any currency: what the answers cost is reckoned with it.",
        elem_id="monitor-price", minimum=0,
    )  # fmt: skip
    inputs, outputs = [readings, price, desk.key], [warned, page, readings]
    place.select(told(look), inputs, outputs, **QUIET)
    place.select(lambda: gr.Timer(active=True), None, tick, **QUIET)
    for other in others:
        other.select(lambda: gr.Timer(active=False), None, tick, **QUIET)
    tick.tick(told(look), inputs, outputs, **QUIET)


def alerts(rows: Sequence[dict[str, Any]]) -> str:
    """What should be looked at."""
    if not rows:
        return notice("No alerts: nothing looks like poison, and no sleep has cost older knowledge.")
    items = "".join(
        f'<div class="el-notice {"el-bad" if row["level"] == "high" else "el-wait"}" role="status">'
        f"<b>{plain(_TITLES.get(row['kind'], row['kind']))}.</b> {plain(row['message'])} "
        f'<span class="el-hint">{plain(row["hint"])}</span></div>'
        for row in rows
    )
    return f'<div class="el-alerts">{items}</div>'


def shown(readings: list[Reading], price: float = 0.0) -> str:
    """The newest reading in numbers, and all of them as lines.

    Args:
        readings: oldest first.
        price: of an hour of a core.
    """
    now = readings[-1]
    cards = [_card(f"{now.sums.get('everlearn_num_requests_running', 0):.0f}", "answers under way")]
    cards.append(_card(f"{now.sums.get('everlearn_num_requests_waiting', 0):.0f}", "waiting"))
    cards += [_card(_mean(now, name, scale, unit), f"{title}, mean") for title, name, scale, unit in _MEANS]
    cards += [_card(f"{now.sums.get(name, 0):,.0f}", title) for title, name in _COUNTS]
    for part, words in _PARTS:
        cards += [_card(f"{count:,.0f}", words.format(plain(name))) for name, count in sorted(now.by(part).items())]
    cards += [_card(size(count), f"on disk: {plain(name)}") for name, count in sorted(now.by("bytes").items())]
    if memory := now.sums.get("process_resident_memory_bytes"):
        cards.append(_card(size(memory), "memory of the server"))
    lines = "".join(_line(title, rates(readings, name)) for title, name in _RATES)
    lines += _line("Lessons", levels(readings, "everlearn_lessons"))
    stored = levels(readings, "everlearn_storage_bytes")
    lines += _line("On disk", stored, now=size(stored[-1]))
    routes = sorted(now.routes.items(), key=lambda item: -item[1][1])[:12]
    rows = [(plain(r), f"{n:,.0f}", f"{s / n * 1000:.1f} ms" if n else "-") for r, (s, n) in routes]
    busy = table(("Route", "Requests", "Mean"), rows, label="Requests by route")
    made = "".join(cards + cost(now, price))
    return f'<div class="el-cards">{made}</div><div class="el-cards el-lines">{lines}</div>{busy}'


def cost(now: Reading, price: float) -> list[str]:
    """What the server has used since it was started: core hours, and with a price money, of a thousand tokens too."""
    seconds = now.sums.get("process_cpu_seconds_total", 0.0)
    tokens = now.sums.get("everlearn_generation_tokens_total", 0.0)
    cards = [_card(f"{seconds / _HOUR:.3f}", "core hours since the start")]
    if tokens:
        cards.append(_card(f"{seconds / tokens * 1000:.1f} s", "of a core for 1,000 tokens written, all told"))
    if price:
        cards.append(_card(f"{seconds / _HOUR * price:.4g}", "cost since the start"))
        if tokens:
            cards.append(_card(f"{seconds / _HOUR * price / tokens * 1000:.4g}", "cost of 1,000 tokens written"))
    return cards


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _card(number: str, words: str) -> str:
    return f'<div class="el-card"><b class="el-big">{number}</b><span>{words}</span></div>'


def _line(title: str, values: list[float], *, now: str = "") -> str:
    now = now or (f"{values[-1]:,.4g}" if values else "-")
    return f'<div class="el-card"><span>{plain(title)}</span> <b>{now}</b>{line(values, label=title)}</div>'


def _mean(reading: Reading, name: str, scale: float, unit: str) -> str:
    mean: Any = reading.mean(name)
    return "-" if mean is None else f"{mean * scale:.0f} {unit}"

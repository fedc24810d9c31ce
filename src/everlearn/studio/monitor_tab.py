"""Monitor: requests, latency, tokens, recall hits, lessons; looked at every few seconds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from everlearn.studio.faults import told
from everlearn.studio.markup import plain, table
from everlearn.studio.page import Desk, panel
from everlearn.studio.plots import line
from everlearn.studio.queues_tab import QUIET
from everlearn.studio.readings import Reading, rates, read

SECONDS = 3.0
MOST_READINGS = 200
_RATES = (
    ("Requests a second", "everlearn_requests_total"),
    ("Tokens written a second", "everlearn_generation_tokens_total"),
    ("Tokens read a second", "everlearn_prompt_tokens_total"),
    ("Lessons taught a second", "everlearn_lessons_taught_total"),
)
_MEANS = (
    ("First token", "everlearn_time_to_first_token_seconds", 1000.0, "ms"),
    ("Each token", "everlearn_inter_token_latency_seconds", 1000.0, "ms"),
    ("Recall", "everlearn_recall_milliseconds", 1.0, "ms"),
    ("Teaching", "everlearn_teach_seconds", 1000.0, "ms"),
)


def build(desk: Desk, place: gr.Tab, others: list[gr.Tab]) -> None:
    """Lay the tab out and connect it; it looks only while it is shown."""

    async def look(readings: list[Reading], key: str) -> tuple[str, list[Reading]]:
        readings = [*readings, read(await desk.api(key).text("/metrics"))][-MOST_READINGS:]
        return shown(readings), readings

    readings, tick = gr.State([]), gr.Timer(SECONDS, active=False)
    page = panel(id_="monitor")
    place.select(told(look), [readings, desk.key], [page, readings], **QUIET)
    place.select(lambda: gr.Timer(active=True), None, tick, **QUIET)
    for other in others:
        other.select(lambda: gr.Timer(active=False), None, tick, **QUIET)
    tick.tick(told(look), [readings, desk.key], [page, readings], **QUIET)


def shown(readings: list[Reading]) -> str:
    """The newest reading in numbers, and all of them as lines."""
    now = readings[-1]
    cards = [_card(f"{now.sums.get('everlearn_num_requests_running', 0):.0f}", "answers under way")]
    cards.append(_card(f"{now.sums.get('everlearn_num_requests_waiting', 0):.0f}", "waiting"))
    cards += [_card(_mean(now, name, scale, unit), f"{title}, mean") for title, name, scale, unit in _MEANS]
    cards += [_card(f"{count:,.0f}", f"lessons {status}") for status, count in sorted(now.lessons.items())]
    cards += [_card(f"{count:,.0f}", f"answers: lesson {plain(how)}") for how, count in sorted(now.hits.items())]
    for title, name in (("refused", "everlearn_refused_total"), ("forgotten", "everlearn_lessons_forgotten_total")):
        cards.append(_card(f"{now.sums.get(name, 0):,.0f}", title))
    lines = "".join(_line(title, rates(readings, name)) for title, name in _RATES)
    routes = sorted(now.routes.items(), key=lambda item: -item[1][1])[:12]
    rows = [(plain(r), f"{n:,.0f}", f"{s / n * 1000:.1f} ms" if n else "-") for r, (s, n) in routes]
    busy = table(("Route", "Requests", "Mean"), rows, label="Requests by route")
    return f'<div class="el-cards">{"".join(cards)}</div><div class="el-cards el-lines">{lines}</div>{busy}'


def _card(number: str, words: str) -> str:
    return f'<div class="el-card"><b class="el-big">{number}</b><span>{words}</span></div>'


def _line(title: str, values: list[float]) -> str:
    now = f"{values[-1]:.1f}" if values else "-"
    return f'<div class="el-card"><span>{plain(title)}</span> <b>{now}</b>{line(values, label=title)}</div>'


def _mean(reading: Reading, name: str, scale: float, unit: str) -> str:
    mean: Any = reading.mean(name)
    return "-" if mean is None else f"{mean * scale:.0f} {unit}"

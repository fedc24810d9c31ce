"""Compare: one question, two to four models side by side, and a blind vote."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from everlearn.studio.chat_controls import model_choices
from everlearn.studio.client import Api, ApiError
from everlearn.studio.conversation import BARE, EVERYTHING, TICK_SECONDS
from everlearn.studio.faults import told
from everlearn.studio.markup import button, empty, markdown, notice, plain, table
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.queues_tab import QUIET

NONE = ("none", "")
MOST = 4
FORMS = [("prompt, chosen, rejected (DPO)", "pairs"), ("prompt, completion, label (KTO)", "labels")]
_EMPTY = empty(
    "Nothing compared yet.",
    "Ask one question of two to four models: with and without memory, say, or two adapter versions.",
)


def build(desk: Desk, place: gr.Tab) -> None:
    """Lay the tab out and connect it."""

    async def fill(key: str) -> tuple[Any, ...]:
        api = desk.api(key)
        tables = [row["name"] for row in (await api.get("/v1/tables"))["data"]]
        adapters = [row["id"] for row in (await api.get("/v1/adapters"))["data"]]
        return tuple(gr.update(choices=[NONE, *model_choices(tables, adapters)]) for _ in range(MOST))

    async def run(question: str, blind: bool, key: str, *models: str) -> AsyncGenerator[tuple[Any, ...], None]:
        chosen = [model for model in models if model]
        if len(chosen) < 2 or not (question or "").strip():
            raise ApiError("A comparison needs a question and two models.", hint="Choose at least two.")
        if blind:
            random.shuffle(chosen)
        sides = [{"model": model, "text": "", "receipt": "", "done": False} for model in chosen]
        async for _ in answered(desk.api(key), question.strip(), sides):
            yield shown(sides, blind=blind), sides
        yield shown(sides, blind=blind, votable=True), sides

    async def vote(
        event: gr.EventData, sides: list[dict[str, Any]], tally: dict[str, int], hidden: bool, key: str
    ) -> tuple[Any, ...]:
        act, of = act_of(event)
        if act != "vote":
            return gr.skip(), gr.skip(), gr.skip()
        won = sides[int(of)]
        await preferred(desk.api(key), sides, int(of), blind=hidden)
        counted = Counter(tally)
        counted[won["model"]] += 1
        said = notice(f"Answer {int(of) + 1} was from {won['model']}; kept as a preference.")
        return said + shown(sides, blind=False), dict(counted), tallied(counted)

    sides, tally = gr.State([]), gr.State({})
    question = gr.Textbox(label="Question", elem_id="compare-question", max_lines=6)
    with gr.Row():
        start = [EVERYTHING, BARE, "", ""]
        models = [
            gr.Dropdown(
                [NONE, *model_choices([], [])], value=v, label=f"Model {n + 1}", elem_id=f"compare-{n}", min_width=150
            )
            for n, v in enumerate(start)
        ]
    with gr.Row(elem_classes="el-tight"):
        go = gr.Button("Compare", variant="primary", elem_id="compare-go")
        blind = gr.Checkbox(True, label="Blind: names after the vote", elem_id="compare-blind")
    answers, votes = panel(_EMPTY, id_="compare-answers"), panel(id_="compare-votes")
    place.select(told(fill), desk.key, models, **QUIET)
    for event in (go.click, question.submit):
        event(told(run), [question, blind, desk.key, *models], [answers, sides], **QUIET)
    answers.click(told(vote), [sides, tally, blind, desk.key], [answers, tally, votes], **QUIET)
    _export(desk)


def _export(desk: Desk) -> None:
    """All votes and thumbs as a file for preference training."""

    async def take(form: str, key: str) -> Any:
        to = Path(tempfile.mkdtemp(prefix="everlearn-preferences-")) / f"preferences-{form}.jsonl"
        await desk.api(key).download(f"/v1/preferences/export?form={form}", to)
        if not to.stat().st_size:
            raise ApiError("No preference of this form is kept yet.", hint="Vote here, or judge answers in Chat.")
        return gr.update(value=str(to), visible=True)

    with gr.Accordion("Votes and thumbs for training", open=False, elem_id="compare-export"), gr.Row():
        form = gr.Radio(FORMS, value="pairs", label="As JSON lines of", elem_id="compare-form")
        made = gr.Button("Export", elem_id="compare-take", min_width=80)
        out = gr.File(label="Exported file", interactive=False, visible=False, elem_id="compare-file", height=90)
    made.click(told(take), [form, desk.key], out, **QUIET)


async def preferred(api: Api, sides: list[dict[str, Any]], best: int, *, blind: bool) -> None:
    """Keep a vote: the answer that is best, and the others."""
    others = [side["receipt"] for n, side in enumerate(sides) if n != best]
    await api.post("/v1/preferences", {"chosen": sides[best]["receipt"], "rejected": others, "blind": blind})


async def answered(api: Api, question: str, sides: list[dict[str, Any]]) -> AsyncGenerator[None, None]:
    """Answer on all sides at once; yields at most twenty times a second while they fill."""
    tasks = [asyncio.create_task(_one(api, question, side)) for side in sides]
    try:
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=TICK_SECONDS)
            yield
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _one(api: Api, question: str, side: dict[str, Any]) -> None:
    begun = time.perf_counter()
    learning = {"mode": "off" if side["model"] == BARE else "read"}
    body = {"model": side["model"], "messages": [{"role": "user", "content": question}], "max_tokens": 256}
    async with aclosing(api.stream("/v1/chat/completions", {**body, "stream": True, "learning": learning})) as events:
        async for event in events:
            side["text"] += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
            if learned := event.get("learning"):
                side["receipt"], side["lessons"] = learned["receipt_id"], len(learned["lessons"])
    side["done"], side["seconds"] = True, time.perf_counter() - begun


def shown(sides: list[dict[str, Any]], *, blind: bool, votable: bool = False) -> str:
    """The answers side by side."""
    cards = []
    for n, side in enumerate(sides):
        name = f"Answer {n + 1}" if blind else f"Answer {n + 1}: {side['model']}"
        end = "" if not side["done"] or blind else f"{side['seconds']:.1f} s, rests on {side['lessons']} lessons"
        choose = button("This one is best", "vote", n, described=f"Answer {n + 1} is best") if votable else ""
        text = markdown(side["text"]) if side["text"] else '<p class="el-dim">thinking ...</p>'
        cards.append(
            f'<div class="el-card"><p class="el-heading">{plain(name)}</p><div class="el-answer">{text}</div>'
            f'<p class="el-dim">{plain(end)}</p>{choose}</div>'
        )
    return f'<div class="el-cards el-sides">{"".join(cards)}</div>'


def tallied(counted: Counter[str]) -> str:
    """Votes so far, of this visit."""
    rows = [(plain(name), f"{votes}") for name, votes in counted.most_common()]
    return table(("Model", "Votes in this visit"), rows, label="Votes")

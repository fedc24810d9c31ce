"""Chat: ask, see what the answer rests on, say what is right, and ask again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, final

import gradio as gr

from everlearn.studio import chat_controls, conversation
from everlearn.studio.chat_controls import Controls, choices_of
from everlearn.studio.chat_view import conversation as shown
from everlearn.studio.chat_view import live
from everlearn.studio.client import ApiError
from everlearn.studio.conversation import Turn
from everlearn.studio.faults import told
from everlearn.studio.markup import notice
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.tour import TOUR, question_of

Updates = AsyncGenerator[tuple[Any, ...], None]
KEEP = gr.skip()


@final
@dataclass(frozen=True, slots=True)
class ChatTab:
    """The parts of the tab that others reach: `opened` gets the id of a lesson that is to be shown."""

    log: gr.HTML
    question: gr.Textbox
    opened: gr.Textbox
    controls: Controls


@final
class _Chat:
    """The handlers. Each takes the turns, the key and the controls, and gives (log, live, turns, question, ...)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, question: str, turns: list[Turn], key: str, *values: Any) -> Updates:
        """Ask what stands in the field."""
        if not (question or "").strip():
            raise ApiError("The question is empty.", hint="Write one, then press Enter.")
        conversation.begin(turns, question.strip())
        async with aclosing(self._answer(turns, key, values)) as updates:
            async for update in updates:
                yield update

    async def act(self, event: gr.EventData, turns: list[Turn], key: str, *values: Any) -> Updates:
        """Whatever a button under an answer, or in the tour, asks for."""
        act, of = act_of(event)
        if act == "tour":
            conversation.begin(turns, question_of(of))
        elif act in ("again", "edit"):
            turn = turns[int(of)]
            del turns[int(of) :]
            if act == "edit":
                yield shown(turns), "", turns, turn.question, *_closed()
                return
            conversation.begin(turns, turn.question)
        elif act == "wrong":
            turn = turns[int(of)]
            title = notice(f"What is the right answer to: {turn.question}", "wait")
            yield KEEP, KEEP, turns, KEEP, gr.update(visible=True), title, "", int(of)
            return
        elif act in ("right", "bare"):
            async for update in self._about(act, turns, int(of), key, values):
                yield update
            return
        else:
            yield (KEEP,) * 8
            return
        async with aclosing(self._answer(turns, key, values)) as updates:
            async for update in updates:
                yield update

    async def correct(self, right: str, table: str, chosen: int, turns: list[Turn], key: str, *values: Any) -> Updates:
        """Teach the right answer, and answer the question again, now knowing it."""
        if not (right or "").strip():
            raise ApiError("The right answer is empty.", hint="Write it, then press Teach.")
        turn = turns[chosen]
        taught = await conversation.correct(self._desk.api(key), turn, right.strip(), table)
        turn.verdict, turn.note = "wrong", _learned(taught)
        conversation.begin(turns, turn.question)
        async with aclosing(self._answer(turns, key, values)) as updates:
            async for update in updates:
                yield update

    async def stopped(self, turns: list[Turn]) -> tuple[Any, ...]:
        """Keep what came until then."""
        if turns and turns[-1].state in ("asked", "streaming"):
            turns[-1].state = "stopped"
        return shown(turns), "", turns

    async def _answer(self, turns: list[Turn], key: str, values: tuple[Any, ...]) -> Updates:
        api, turn = self._desk.api(key), turns[-1]
        yield shown(turns), live(turn), turns, "", *_closed()
        try:
            async with aclosing(conversation.answered(api, turns, choices_of(values))) as pieces:
                async for _ in pieces:
                    yield KEEP, live(turn), KEEP, KEEP, KEEP, KEEP, KEEP, KEEP
        except ApiError:
            yield shown(turns), "", turns, KEEP, KEEP, KEEP, KEEP, KEEP  # the turn says what went wrong
            return
        yield shown(turns), "", turns, KEEP, KEEP, KEEP, KEEP, KEEP

    async def _about(self, act: str, turns: list[Turn], n: int, key: str, values: tuple[Any, ...]) -> Updates:
        api, turn = self._desk.api(key), turns[n]
        if act == "right":
            said = {"verdict": "right", "prompt": turn.question, "receipt_id": turn.receipt.get("id", "")}
            await api.post("/v1/feedback", said)
            turn.verdict, turn.note = "right", "Thank you: kept as feedback."
        else:
            turn.bare = await conversation.without_memory(api, turns[: n + 1], choices_of(values))
        yield shown(turns), KEEP, turns, KEEP, KEEP, KEEP, KEEP, KEEP


def build(desk: Desk) -> ChatTab:
    """Lay the tab out and connect it."""
    chat, turns, chosen = _Chat(desk), gr.State([]), gr.State(0)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            tour = panel(TOUR, id_="tour")
            log = panel(shown([]), id_="chat-log", classes="el-log")
            now = panel(id_="chat-live")
            with gr.Column(visible=False, elem_id="chat-correct") as correcting:
                asked = panel(id_="chat-correct-about")
                right = gr.Textbox(label="The right answer", elem_id="chat-right", max_lines=4)
                with gr.Row():
                    table = gr.Dropdown(["default"], value="default", label="Taught to", elem_id="chat-right-table")
                    teach = gr.Button("Teach and ask again", variant="primary", elem_id="chat-teach")
                    keep = gr.Button("Leave it", elem_id="chat-leave")
            question = gr.Textbox(
                label="Question",
                placeholder="Ask, or tell: Remember: ...",
                lines=1,
                max_lines=8,
                elem_id="chat-question",
            )
            with gr.Row(elem_classes="el-tight"):
                send = gr.Button("Ask", variant="primary", elem_id="chat-send", min_width=80)
                stop = gr.Button("Stop", variant="stop", elem_id="chat-stop", min_width=80)
                new = gr.Button("New conversation", elem_id="chat-new", min_width=120)
        with gr.Column(scale=1, min_width=260):
            controls = chat_controls.build()
    opened = gr.Textbox(visible="hidden", elem_id="chat-opened", label="Opened lesson")
    shared = [turns, desk.key, *controls.all]
    outs = [log, now, turns, question, correcting, asked, right, chosen]
    asking = [
        source(told(chat.ask), [question, *shared], outs, show_progress="hidden", api_visibility="private")
        for source in (send.click, question.submit)
    ]
    asking += [
        source(told(chat.act), shared, outs, show_progress="hidden", api_visibility="private")
        for source in (log.click, tour.click)
    ]
    taught = [right, table, chosen, *shared]
    asking += [
        source(told(chat.correct), taught, outs, show_progress="hidden", api_visibility="private")
        for source in (teach.click, right.submit)
    ]
    keep.click(lambda: gr.update(visible=False), None, correcting, api_visibility="private")
    stop.click(chat.stopped, turns, [log, now, turns], cancels=asking, api_visibility="private")
    new.click(_fresh, None, outs, cancels=asking, api_visibility="private")
    log.click(_lesson, None, opened, show_progress="hidden", api_visibility="private")
    return ChatTab(log, question, opened, controls)


def _closed() -> tuple[Any, ...]:
    return gr.update(visible=False), "", "", KEEP


def _fresh() -> tuple[Any, ...]:
    return shown([]), "", [], "", *_closed()


def _lesson(event: gr.EventData) -> Any:
    act, of = act_of(event)
    return of if act == "open" else KEEP


def _learned(taught: dict[str, Any]) -> str:
    if taught.get("status") == "quarantined":
        return f"Held back until somebody has looked at it (Knowledge, Quarantine): {taught.get('quarantine', '')}"
    if taught.get("superseded"):
        return f"Learned: {taught['answer']} (the older answer stays in history)."
    return f"Learned: {taught.get('answer', '')}."

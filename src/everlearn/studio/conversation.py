"""A conversation as the studio keeps it, and the requests it makes of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, final

from everlearn.studio.client import Api, ApiError

State = Literal["asked", "streaming", "done", "stopped", "failed"]
TICK_SECONDS = 0.05  # a page that is drawn anew for each token of a fast model does nothing else
MOST_TURNS_SENT = 40
MOST_TURNS_KEPT = 120
EVERYTHING, BARE = "everlearn", "base"


@final
@dataclass(slots=True)
class Turn:
    """A question with its answer.

    Attributes:
        question: as it was asked.
        answer: as far as it has come.
        state: how far it is.
        receipt: what it rests on, as the API tells it.
        taught: lessons that the question itself taught.
        bare: what the model says without memory, once asked for.
        verdict: "right" or "wrong" where the user said so.
        note: what was done about it, as a sentence.
    """

    question: str
    answer: str = ""
    state: State = "asked"
    receipt: dict[str, Any] = field(default_factory=dict)
    taught: list[dict[str, Any]] = field(default_factory=list)
    bare: str | None = None
    verdict: str = ""
    note: str = ""


@final
@dataclass(frozen=True, slots=True)
class Choices:
    """How answers are to be made.

    Attributes:
        model: a name of /v1/models.
        tables: to ask; none = all that are open.
        adapter: to use; empty = as the model's name says.
        as_of: the moment asked about; empty = now.
        system: the system prompt.
        temperature: 0 = greedy.
        top_p: share of probability that is sampled from.
        most_tokens: of an answer.
        seed: of sampling; None = any.
        may_teach: whether "Remember: ..." teaches.
    """

    model: str = EVERYTHING
    tables: tuple[str, ...] = ()
    adapter: str = ""
    as_of: str = ""
    system: str = ""
    temperature: float = 0.0
    top_p: float = 1.0
    most_tokens: int = 256
    seed: int | None = None
    may_teach: bool = True

    def body(self, turns: Sequence[Turn], **more: Any) -> dict[str, Any]:
        """The request for an answer to the last turn."""
        learning: dict[str, Any] = {"mode": "write" if self.may_teach else "read"}
        if self.tables:
            learning["tables"] = list(self.tables)
        if self.adapter:
            learning["adapter"] = self.adapter
        if self.as_of.strip():
            learning["as_of"] = self.as_of.strip()
        asked: dict[str, Any] = {
            "model": self.model or EVERYTHING,
            "messages": messages(turns, self.system),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": int(self.most_tokens),
            "learning": learning,
        }
        if self.seed is not None:
            asked["seed"] = int(self.seed)
        return {**asked, **more}


def messages(turns: Sequence[Turn], system: str) -> list[dict[str, str]]:
    """Turns as messages, the system prompt first, the newest question last; failed answers are left out."""
    said = [{"role": "system", "content": system.strip()}] if system.strip() else []
    for turn in turns[-MOST_TURNS_SENT:-1]:
        if turn.answer:
            said += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    return [*said, {"role": "user", "content": turns[-1].question}]


def begin(turns: list[Turn], question: str) -> None:
    """Begin a turn. Of a conversation without end the oldest are let go: they are neither shown nor sent any more."""
    turns.append(Turn(question))
    del turns[:-MOST_TURNS_KEPT]


async def answered(api: Api, turns: Sequence[Turn], choices: Choices) -> AsyncGenerator[None, None]:
    """Answer the last turn, which fills as the pieces come; yields at most twenty times a second.

    Raises:
        ApiError: the server refused; the turn says so too.
    """
    turn, shown = turns[-1], 0.0
    turn.answer, turn.state, turn.receipt, turn.bare, turn.verdict = "", "streaming", {}, None, ""
    try:
        async with aclosing(api.stream("/v1/chat/completions", choices.body(turns, stream=True))) as events:
            async for event in events:
                turn.answer += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
                if learned := event.get("learning"):
                    turn.receipt, turn.taught = {"id": learned["receipt_id"]}, learned.get("taught", [])
                if time.monotonic() - shown >= TICK_SECONDS:
                    shown = time.monotonic()
                    yield
    except ApiError as error:
        turn.state, turn.note = "failed", str(error)
        raise
    turn.receipt = await receipt(api, turn)
    turn.state = "done"
    yield


async def receipt(api: Api, turn: Turn) -> dict[str, Any]:
    """The whole receipt of an answer; what came with the answer where the server keeps none."""
    if not (id_ := turn.receipt.get("id")):
        return turn.receipt
    try:
        return await api.get(f"/v1/receipts/{id_}")
    except ApiError as error:
        return {**turn.receipt, "missing": str(error)}


async def without_memory(api: Api, turns: Sequence[Turn], choices: Choices) -> str:
    """What the bare model answers to the last of these turns."""
    body = choices.body(turns)
    body |= {"model": BARE, "learning": {"mode": "off"}}
    told = await api.post("/v1/chat/completions", body)
    return str(told["choices"][0]["message"]["content"])


async def correct(api: Api, turn: Turn, right: str, table: str) -> dict[str, Any]:
    """Say that an answer is wrong, and what is right: it is learned on the spot.

    Returns:
        What was taught.
    """
    said = {"verdict": "wrong", "correction": right, "prompt": turn.question, "table": table or "default"}
    if id_ := turn.receipt.get("id"):
        said["receipt_id"] = id_
    told = await api.post("/v1/feedback", said)
    return dict(told.get("taught") or {})

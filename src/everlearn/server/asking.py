"""The steps that every kind of answer shares: what is asked, the answer, its receipt, its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from everlearn.engine.prompt import messages_of
from everlearn.engine.ticket import Piece
from everlearn.errors import NotFoundError, StoreError
from everlearn.records import Answer, Grammar, Lesson, Message, Recalled, Receipt, Turn, Usage
from everlearn.server.answering import Ask, heard
from everlearn.server.caller import Caller, GoneError
from everlearn.server.chat_shapes import Learning, Sampled
from everlearn.server.model_names import chosen
from everlearn.server.room import Room
from everlearn.server.tenants import Tenant
from everlearn.store.ids import new_id

T = TypeVar("T")
_NOTHING = Usage()
FINISH = {"stop": "stop", "length": "length", "cancelled": "stop"}


@final
@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and of whom."""

    room: Room
    tenant: Tenant
    caller: Caller


def ask_of(
    asker: Asker, body: Sampled, messages: list[Message], number: int = 0, grammar: Grammar | None = None
) -> Ask:
    """What a request asks.

    Args:
        asker: who asks.
        body: of the request.
        messages: the conversation.
        number: of the answer, where several are wanted.
        grammar: form of the answer.

    Raises:
        EverlearnError: an unknown model or table, or a conversation that cannot be answered.
    """
    tenant, learning = asker.tenant, body.learning
    name = chosen(tenant, body.model)
    tables = name.tables
    if learning.mode == "off":
        tables = ()
    elif learning.tables is not None:
        tables = tuple(learning.tables)
    elif tables is None and (learning.user or learning.teams):
        tables = tenant.engine.tables_for(learning.user, learning.teams)
    adapter = name.adapter if learning.adapter is None else learning.adapter
    sampling = replace(body.sampling(number), grammar=grammar)
    return Ask(messages_of(messages), tables, adapter, sampling, learning.as_of)


def may_write(asker: Asker, learning: Learning) -> bool:
    """Whether this request may teach by what it says."""
    wanted = learning.mode == "write" and asker.room.settings.teach_in_chat
    return wanted and "teach" in asker.caller.scopes


async def pieces(asker: Asker, ask: Ask) -> AsyncIterator[Piece | Answer]:
    """Pieces of an answer and, last, the Answer; its receipt is kept, and it is counted."""
    room, begun, first = asker.room, time.perf_counter(), None
    place = room.cache.place(asker.tenant, ask)
    if place is not None and (known := room.cache.get(place)) is not None:
        room.metrics.hit()
        room.limits.take_tokens(asker.caller, known.usage.prompt_tokens + known.usage.completion_tokens)
        yield Piece(known.text, known.logprobs)
        yield known
        return
    async for event in heard(room.answering, asker.tenant, ask, room.settings.deadline):
        if isinstance(event, Answer):
            await run_in_threadpool(keep_turn, asker, ask.messages[-1].content, event, ask.session)
            if place is not None:
                room.cache.put(place, event)
            room.metrics.answered(event, first)
            room.limits.take_tokens(asker.caller, event.usage.prompt_tokens + event.usage.completion_tokens)
        elif first is None:
            first = time.perf_counter() - begun
        yield event


async def whole(asker: Asker, ask: Ask, request: Request | None = None) -> Answer:
    """The whole answer; it is ended where the client that sent the request goes away.

    Raises:
        GoneError: the client is gone.
    """

    async def drained() -> Answer:
        async for event in pieces(asker, ask):
            if isinstance(event, Answer):
                return event
        raise AssertionError("an answer has an end")

    return await unless_gone(drained(), request)


async def together(asks: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Answers that are waited for at once; the first that cannot be given ends the others."""
    tasks = [asyncio.ensure_future(ask) for ask in asks]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def unless_gone(wanted: Coroutine[Any, Any, T], request: Request | None) -> T:
    """What a coroutine gives; it is ended where the client that sent the request goes away.

    Raises:
        GoneError: the client is gone.
    """
    if request is None:
        return await wanted
    work, gone = asyncio.ensure_future(wanted), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise GoneError
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def keep_turn(asker: Asker, question: str, answer: Answer, session: str = "") -> None:
    """Keep a turn, so that its receipt can be asked for; what was forgotten meanwhile keeps it from being kept."""
    kept, receipt = asker.room.settings.keep_turns, answer.receipt
    texts = (question, answer.text) if kept else ("", "")
    turn = Turn(receipt.id, session or f"api-{receipt.id}", *texts, receipt, datetime.now(UTC))
    try:
        asker.tenant.engine.memory.store.add_turn(turn)
    except (StoreError, NotFoundError):
        # The answer stands; a disk that is full costs its receipt, not the answer. It is counted where one can see it.
        asker.room.metrics.refused("receipt")


def learning_of(receipt: Receipt, taught: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What an answer rests on, in short; the whole receipt is at /v1/receipts/{id}."""
    used = [
        {"lesson_id": r.lesson_id, "table": r.table, "probability": round(r.probability, 4), "decision": r.decision}
        for r in receipt.rests_on
    ]
    told: dict[str, Any] = {"receipt_id": receipt.id, "lessons": used, "recall_ms": round(receipt.recall_ms, 2)}
    if receipt.adapter:
        told["adapter"] = receipt.adapter
    if receipt.as_of is not None:
        told["as_of"] = receipt.as_of.isoformat()
    return {**told, "taught": taught} if taught else told


def usage_of(answers: list[Answer]) -> dict[str, Any]:
    """Tokens of some answers to one prompt."""
    prompt = answers[0].usage.prompt_tokens if answers else 0
    written = sum(a.usage.completion_tokens for a in answers)
    cached = answers[0].usage.cached_tokens if answers else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def said_without_asking(asker: Asker, text: str, lessons: Sequence[Lesson] = ()) -> Answer:
    """An answer that the server gives itself, such as the confirmation that these lessons were learned.

    It quotes them, so it rests on them: when they are forgotten it goes, too.
    """
    rests_on = tuple(Recalled(lesson.id, lesson.table, 1.0, 1.0, "spoke") for lesson in lessons)
    receipt = Receipt(new_id(), asker.tenant.engine.name, (), rests_on)
    usage = replace(_NOTHING, completion_tokens=asker.tenant.engine.text.count(text))
    return Answer(text, receipt, usage, "stop")

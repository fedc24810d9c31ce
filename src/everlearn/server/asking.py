"""The steps that every kind of answer shares: what is asked, the answer, its receipt, its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from everlearn.engine.prompt import messages_of
from everlearn.engine.ticket import Piece
from everlearn.errors import NotFoundError, StoreError
from everlearn.memory.key import words
from everlearn.records import Answer, Filtered, Grammar, Lesson, Message, Recalled, Receipt, Turn, Usage
from everlearn.safety.claims import ClaimCheck, Source
from everlearn.safety.outgoing import Outgoing
from everlearn.server.answering import Ask, heard
from everlearn.server.caller import Caller, GoneError
from everlearn.server.chat_shapes import Learning, Sampled
from everlearn.server.filters import Filters
from everlearn.server.model_names import chosen
from everlearn.server.room import Room
from everlearn.server.tenants import Tenant
from everlearn.store.ids import new_id

T = TypeVar("T")
_NOTHING = Usage()
FINISH = {"stop": "stop", "length": "length", "cancelled": "stop", "content_filter": "content_filter"}


@final
@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and of whom."""

    room: Room
    tenant: Tenant
    caller: Caller


def ask_of(
    asker: Asker,
    body: Sampled,
    messages: list[Message],
    number: int = 0,
    grammar: Grammar | None = None,
    filtered: tuple[Filtered, ...] = (),
) -> Ask:
    """What a request asks.

    Args:
        asker: who asks.
        body: of the request.
        messages: the conversation.
        number: of the answer, where several are wanted.
        grammar: form of the answer.
        filtered: what filters found in the messages, which have passed them (`taken_in`).

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
    checks = learning.check_claims
    return Ask(messages_of(messages), tables, adapter, sampling, learning.as_of, filtered=filtered, check_claims=checks)


def may_write(asker: Asker, learning: Learning) -> bool:
    """Whether this request may teach by what it says."""
    wanted = learning.mode == "write" and asker.room.settings.teach_in_chat
    return wanted and "teach" in asker.caller.scopes


def taken_in(asker: Asker, messages: Sequence[Message]) -> tuple[list[Message], tuple[Filtered, ...]]:
    """Messages as they may be asked, and what filters found in them.

    Raises:
        ContentFilterError: one of them may not be asked.
    """
    found: list[Filtered] = []
    passed = Filters(asker.room, asker.tenant).taken_in(messages, found)
    return passed, tuple(dict.fromkeys(found))


async def pieces(asker: Asker, ask: Ask) -> AsyncIterator[Piece | Answer]:
    """Pieces of an answer and, last, the Answer, filtered; its receipt is kept, and it is counted."""
    room, begun, first, shown = asker.room, time.perf_counter(), None, ""
    filters = await run_in_threadpool(Filters, room, asker.tenant)
    out = filters.outgoing(logprobs=ask.sampling.logprobs is not None)
    place = room.cache.place(asker.tenant, ask)
    known = room.cache.get(place) if place is not None else None
    events = heard(room.answering, asker.tenant, ask, room.settings.deadline, lambda: out.blocked)
    async for event in events if known is None else _again(known):
        if isinstance(event, Answer):
            if place is not None and not out.blocked:
                room.cache.put(place, event)
            if rest := await _passed(out, None):
                shown += rest
                yield Piece(rest)
            answer = await run_in_threadpool(filters.finished, event, out, shown, ask.filtered)
            if ask.check_claims:
                answer = await run_in_threadpool(checked, asker, ask, answer)
            if known is None:
                await run_in_threadpool(keep_turn, asker, ask.messages[-1].content, answer, ask.session)
                room.metrics.answered(answer, first)
            else:
                room.metrics.hit()
            room.limits.take_tokens(asker.caller, answer.usage.prompt_tokens + answer.usage.completion_tokens)
            yield answer
            return
        if first is None:
            first = time.perf_counter() - begun
        piece = event if not out.looks else Piece(await _passed(out, event.text))
        shown += piece.text
        if piece.text or not out.looks:
            yield piece


def checked(asker: Asker, ask: Ask, answer: Answer) -> Answer:
    """An answer whose receipt tells which of its statements the lessons bear out that it rests on."""
    memory = asker.tenant.engine.memory
    known = memory.store.lessons_by_id([r.lesson_id for r in answer.receipt.rests_on])
    sources = [Source(lesson.id, f"{lesson.question}\n{lesson.answer}") for lesson in known.values()]
    check = ClaimCheck(memory.keys.vectors, words, memory.keys.rarity)
    claims = check.check(ask.messages[-1].content, answer.text, sources)
    return replace(answer, receipt=replace(answer.receipt, claims=tuple(claims)))


async def _passed(out: Outgoing, text: str | None) -> str:
    """What can be shown of an answer once this piece came; None = it is whole."""
    if not out.looks:
        return ""
    step = out.end if text is None else partial(out.feed, text)
    return await run_in_threadpool(step) if out.slow else step()


async def _again(known: Answer) -> AsyncIterator[Piece | Answer]:
    """An answer that was there already; its receipt is kept from then."""
    yield Piece(known.text, known.logprobs)
    yield known


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
    if not kept:
        receipt = replace(receipt, sampling=None)  # stop strings and forms are words of the user, too
    turn = Turn(receipt.id, session or f"api-{receipt.id}", *texts, receipt, datetime.now(UTC))
    try:
        asker.tenant.engine.memory.store.add_turn(turn)
    except (StoreError, NotFoundError):
        # The answer stands; a disk that is full costs its receipt, not the answer. It is counted where one can see it.
        asker.room.metrics.refused("receipt")


def learning_of(answer: Answer, taught: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """What an answer rests on, in short, and how long it took; the whole receipt is at /v1/receipts/{id}."""
    receipt, usage = answer.receipt, answer.usage
    used = [
        {"lesson_id": r.lesson_id, "table": r.table, "probability": round(r.probability, 4), "decision": r.decision}
        for r in receipt.rests_on
    ]
    told: dict[str, Any] = {"receipt_id": receipt.id, "lessons": used, "recall_ms": round(receipt.recall_ms, 2)}
    if receipt.adapter:
        told["adapter"] = receipt.adapter
    if receipt.as_of is not None:
        told["as_of"] = receipt.as_of.isoformat()
    if receipt.claims:
        told["claims"] = [asdict(claim) for claim in receipt.claims]
    if receipt.filters:
        told["filters"] = [{"stage": f.stage, "category": f.category, "action": f.action} for f in receipt.filters]
    spent = {name: round(getattr(usage, name), 2) for name in ("queue_ms", "prefill_ms", "decode_ms", "total_ms")}
    return {**told, "timings": spent} | ({"taught": taught} if taught else {})


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

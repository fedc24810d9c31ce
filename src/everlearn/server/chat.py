"""POST /v1/chat/completions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from everlearn.errors import EverlearnError, SettingsError
from everlearn.records import Answer, Lesson, Message
from everlearn.server import asking
from everlearn.server.answering import Ask
from everlearn.server.asking import FINISH, Asker
from everlearn.server.caller import Caller, may
from everlearn.server.chat_shapes import ChatRequest
from everlearn.server.faults import body_of, status_of
from everlearn.server.intents import Intent, intent_of
from everlearn.server.lesson_shapes import taught_of
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(tags=["openai"])
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
KEEPALIVE_SECONDS = 15.0


@router.post("/v1/chat/completions")
async def chat(
    body: ChatRequest,
    request: Request,
    room: Annotated[Room, Depends(room_of)],
    tenant: Annotated[Tenant, Depends(tenant_of)],
    caller: Annotated[Caller, Depends(may("ask"))],
) -> Response:
    """Answer a conversation, whole or as a stream."""
    asker = Asker(room, tenant, caller)
    _check(body)
    messages = body.spoken()
    intent = intent_of(messages) if asking.may_write(asker, body.learning) else None
    asks = [asking.ask_of(asker, body, messages, n) for n in range(body.n)]
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}
    if intent is not None:
        answer, taught = await run_in_threadpool(_learn, asker, intent, messages)
        if body.stream:
            return _streamed(_confirmed(body, head, answer, taught))
        return JSONResponse(_completion(head, [answer], taught))
    if body.stream:
        first = asking.pieces(asker, asks[0])
        begun = await anext(first)  # an error before the first piece is an error of the request, not of the stream
        return _streamed(_chunks(asker, body, head, asks, first, begun))
    answers = list(await asyncio.gather(*(asking.whole(asker, ask, request) for ask in asks[:1])))
    answers += [await asking.whole(asker, ask, request) for ask in asks[1:]]
    return JSONResponse(_completion(head, answers))


def _check(body: ChatRequest) -> None:
    wanted = (body.response_format or {}).get("type", "text")
    if wanted != "text":
        raise SettingsError(f"response_format is {wanted!r}; this server answers in text.", hint="Leave it out.")
    if body.logprobs:
        raise SettingsError("logprobs are not given by this server.", hint="Leave it out.")


def _learn(asker: Asker, intent: Intent, messages: list[Message]) -> tuple[Answer, list[dict[str, Any]]]:
    """Learn what a message wants to be learned, and confirm it."""
    learner = asker.tenant.learner
    author = asker.caller.key_id
    asker.room.limits.take_lessons(asker.caller, 1)
    with asker.room.metrics.teaching(1):
        if intent.question:
            lesson = Lesson(intent.question, intent.answer, source="chat", author=author)
            outcomes = [learner.teach(lesson)]
            text = f"Learned: {outcomes[0].lesson.prompt} {outcomes[0].lesson.answer}"
        else:
            outcomes = list(learner.learn_from_text(intent.answer, title="Remembered", source="").taught)
            text = f"Learned: {intent.answer}"
    held = [o for o in outcomes if o.lesson.status == "quarantined"]
    if held:
        text = f"Held back, until somebody has looked at it: {held[0].lesson.quarantine}"
    return asking.said_without_asking(asker, text), [taught_of(o) for o in outcomes]


def _completion(
    head: dict[str, Any], answers: list[Answer], taught: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    choices: list[dict[str, Any]] = [
        {
            "index": n,
            "message": {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": FINISH[answer.finish_reason],
        }
        for n, answer in enumerate(answers)
    ]
    whole = {**head, "object": "chat.completion", "choices": choices, "usage": asking.usage_of(answers)}
    return {**whole, "system_fingerprint": None, "learning": asking.learning_of(answers[0].receipt, taught)}


def _chunk(head: dict[str, Any], delta: dict[str, Any], finish: str | None, n: int, *, usage: bool) -> dict[str, Any]:
    choice = {"index": n, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**head, "object": "chat.completion.chunk", "system_fingerprint": None, "choices": [choice]}
    return {**chunk, "usage": None} if usage else chunk


async def _chunks(
    asker: Asker,
    body: ChatRequest,
    head: dict[str, Any],
    asks: list[Ask],
    first: AsyncIterator[str | Answer],
    begun: str | Answer,
) -> AsyncIterator[dict[str, Any]]:
    """Chunks of a stream: of one answer after the other where several were asked for."""
    usage = body.stream_options is not None and body.stream_options.include_usage
    answers: list[Answer] = []
    for n, ask in enumerate(asks):
        yield _chunk(head, {"role": "assistant", "content": ""}, None, n, usage=usage)
        events = _with(begun, first) if n == 0 else asking.pieces(asker, ask)
        async for event in events:
            if isinstance(event, Answer):
                answers.append(event)
                last = _chunk(head, {}, FINISH[event.finish_reason], n, usage=usage)
                yield {**last, "learning": asking.learning_of(event.receipt)}
            else:
                yield _chunk(head, {"content": event}, None, n, usage=usage)
    if usage:
        yield _usage_chunk(head, answers)


async def _confirmed(
    body: ChatRequest, head: dict[str, Any], answer: Answer, taught: list[dict[str, Any]]
) -> AsyncIterator[dict[str, Any]]:
    usage = body.stream_options is not None and body.stream_options.include_usage
    yield _chunk(head, {"role": "assistant", "content": answer.text}, None, 0, usage=usage)
    yield {**_chunk(head, {}, "stop", 0, usage=usage), "learning": asking.learning_of(answer.receipt, taught)}
    if usage:
        yield _usage_chunk(head, [answer])


def _usage_chunk(head: dict[str, Any], answers: list[Answer]) -> dict[str, Any]:
    return {**head, "object": "chat.completion.chunk", "choices": [], "usage": asking.usage_of(answers)}


async def _with(begun: str | Answer, rest: AsyncIterator[str | Answer]) -> AsyncIterator[str | Answer]:
    yield begun
    async for event in rest:
        yield event


def _streamed(chunks: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    return StreamingResponse(events_of(chunks), media_type="text/event-stream", headers=STREAM_HEADERS)


async def events_of(chunks: AsyncIterator[dict[str, Any]], *, done: str = "[DONE]") -> AsyncIterator[str]:
    """Server-sent events of chunks, with comments that keep the connection open while nothing comes."""
    upcoming = asyncio.ensure_future(anext(chunks))
    try:
        while True:
            ready, _ = await asyncio.wait({upcoming}, timeout=KEEPALIVE_SECONDS)
            if not ready:
                yield ": keepalive\n\n"
                continue
            try:
                chunk = upcoming.result()
            except StopAsyncIteration:
                yield f"data: {done}\n\n"
                return
            except EverlearnError as error:
                yield f"data: {json.dumps(body_of(status_of(error), str(error), code=error.code))}\n\n"
                return
            yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
            upcoming = asyncio.ensure_future(anext(chunks))
    finally:
        upcoming.cancel()
        close = getattr(chunks, "aclose", None)
        if close is not None and upcoming.done():
            await close()

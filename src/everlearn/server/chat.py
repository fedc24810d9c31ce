"""POST /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, final
from uuid import uuid4

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from everlearn.engine.ticket import Piece
from everlearn.records import Answer, Filtered, Grammar, Message
from everlearn.server import asking
from everlearn.server.answer_form import grammar_of
from everlearn.server.answering import Ask
from everlearn.server.api_schema import EVENTS
from everlearn.server.asking import Asker
from everlearn.server.caller import Caller, may
from everlearn.server.chat_shapes import ChatRequest
from everlearn.server.chat_told import Said, Told, calls_delta, chunk, completion, last_chunk, usage_chunk
from everlearn.server.events import streamed
from everlearn.server.intents import Intent, intent_of
from everlearn.server.memory_tools import MEMORY_TOOLS, carried_out, learned, ours
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant
from everlearn.server.tools import CallSplitter, Toolbox, found_calls, tools_of, with_tools

router = APIRouter(tags=["openai"])


@final
@dataclass(frozen=True, slots=True)
class Talk:
    """A request that was read.

    Attributes:
        asker: who asks.
        body: of the request.
        head: fields that all chunks share.
        messages: the conversation, tools told of.
        tools: of the client.
        known: these and the server's own.
        grammar: form of the answer.
        filtered: what filters found in the messages.
    """

    asker: Asker
    body: ChatRequest
    head: Told
    messages: list[Message]
    tools: Toolbox
    known: Toolbox
    grammar: Grammar | None
    filtered: tuple[Filtered, ...]

    @property
    def asks(self) -> list[Ask]:
        """What is asked, once for each answer that is wanted."""
        return [
            asking.ask_of(self.asker, self.body, self.messages, n, self.grammar, self.filtered)
            for n in range(self.body.n)
        ]

    @property
    def usage(self) -> bool:
        """Whether a stream ends with usage."""
        return self.body.stream_options is not None and self.body.stream_options.include_usage


@router.post("/v1/chat/completions", responses=EVENTS)
async def chat(
    body: ChatRequest,
    request: Request,
    room: Annotated[Room, Depends(room_of)],
    tenant: Annotated[Tenant, Depends(tenant_of)],
    caller: Annotated[Caller, Depends(may("ask"))],
) -> Response:
    """Answer a conversation, whole or as a stream."""
    asker = Asker(room, tenant, caller)
    if not body.stream:
        return JSONResponse(await completed(asker, body, request))
    talk = await run_in_threadpool(_read, asker, body)
    if intent := _intent(talk):
        return streamed(_confirmed(talk, await run_in_threadpool(_learn, talk, intent)))
    asks = talk.asks
    first = asking.pieces(asker, asks[0])
    begun = await anext(first)  # an error before the first piece is an error of the request, not of the stream
    return streamed(_chunks(talk, asks, _with(begun, first)))


async def completed(asker: Asker, body: ChatRequest, request: Request | None = None) -> Told:
    """The body of a whole completion; it is ended where the client of a request goes away.

    Raises:
        EverlearnError: it cannot be answered.
    """
    talk = await run_in_threadpool(_read, asker, body)
    if intent := _intent(talk):
        return completion(talk.head, [await run_in_threadpool(_learn, talk, intent)])
    asks = [asking.whole(asker, ask) for ask in talk.asks]
    answers = await asking.unless_gone(asking.together(asks), request)
    return completion(talk.head, [await _said(talk, answer) for answer in answers])


def _read(asker: Asker, body: ChatRequest) -> Talk:
    tools = tools_of(body.tools, body.tool_choice, parallel=body.parallel_tool_calls is not False)
    own = MEMORY_TOOLS if body.learning.tools and asking.may_write(asker, body.learning) else ()
    known = tools if tools.must else tools.and_(own)
    head: Told = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}
    head["system_fingerprint"] = f"fp_{asker.tenant.engine.model.digest[:12]}"
    grammar = tools.grammar or grammar_of(body.response_format)
    said, filtered = asking.taken_in(asker, body.spoken())
    return Talk(asker, body, head, with_tools(said, known), tools, known, grammar, filtered)


def _intent(talk: Talk) -> Intent | None:
    return intent_of(talk.messages) if asking.may_write(talk.asker, talk.body.learning) else None


def _learn(talk: Talk, intent: Intent) -> Said:
    answer, done = learned(talk.asker, intent)
    asking.keep_turn(talk.asker, talk.messages[-1].content, answer)
    return Said(answer, answer.text, (), done)


async def _said(talk: Talk, answer: Answer) -> Said:
    """Words and calls of an answer; calls of the server's own tools are carried out."""
    if answer.finish_reason == "content_filter":
        return Said(answer, answer.text)  # it ends where it was blocked: a call in it may not be whole
    text, calls = found_calls(answer.text, talk.known)
    if not ours(calls, talk.tools):
        return Said(answer, text, calls)
    confirmed, done = await run_in_threadpool(carried_out, talk.asker, calls)
    return Said(answer, f"{text}{confirmed}", (), done)


async def _chunks(talk: Talk, asks: list[Ask], first: AsyncIterator[Piece | Answer]) -> AsyncIterator[Told]:
    """Chunks of a stream: of one answer after the other where several were asked for."""
    answers: list[Answer] = []
    for n, ask in enumerate(asks):
        yield chunk(talk.head, {"role": "assistant", "content": ""}, None, n, usage=talk.usage)
        splitter = CallSplitter(talk.known)
        async for event in first if n == 0 else asking.pieces(talk.asker, ask):
            if isinstance(event, Answer):
                answers.append(event)
                async for told in _end(talk, event, splitter, n):
                    yield told
            elif (words := splitter.feed(event.text)) or event.tokens:
                yield chunk(talk.head, {"content": words}, None, n, usage=talk.usage, tokens=event.tokens)
    if talk.usage:
        yield usage_chunk(talk.head, answers)


async def _end(talk: Talk, answer: Answer, splitter: CallSplitter, n: int) -> AsyncIterator[Told]:
    """The chunks behind the last piece of an answer: words that were held back, calls, the end."""
    words, calls = splitter.end()
    if answer.finish_reason == "content_filter":
        calls = []
    said = Said(answer, answer.text, calls)
    if ours(calls, talk.tools):
        confirmed, done = await run_in_threadpool(carried_out, talk.asker, calls)
        words, said = words + confirmed, Said(answer, confirmed, (), done)
    if words:
        yield chunk(talk.head, {"content": words}, None, n, usage=talk.usage)
    if said.calls:
        yield chunk(talk.head, calls_delta(calls), None, n, usage=talk.usage)
    yield last_chunk(talk.head, said, n, usage=talk.usage)


async def _confirmed(talk: Talk, said: Said) -> AsyncIterator[Told]:
    yield chunk(talk.head, {"role": "assistant", "content": said.text}, usage=talk.usage)
    yield last_chunk(talk.head, said, usage=talk.usage)
    if talk.usage:
        yield usage_chunk(talk.head, [said.answer])


async def _with(begun: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:  # noqa: ANN401 -- events of any kind
    yield begun
    async for event in rest:
        yield event

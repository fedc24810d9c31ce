"""The responses API: from a request to its events. The last event holds the whole response.

A response is kept with the turn that it rests on: when a lesson that spoke in it is forgotten, it is gone, and so are
those that go on from it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from starlette.concurrency import run_in_threadpool

from everlearn.engine.ticket import Piece
from everlearn.errors import EverlearnError
from everlearn.records import Answer, Filtered, Message
from everlearn.server import asking
from everlearn.server.answer_form import grammar_of
from everlearn.server.answering import Ask
from everlearn.server.asking import Asker
from everlearn.server.filters import Filters
from everlearn.server.intents import Intent, intent_of
from everlearn.server.memory_tools import MEMORY_TOOLS, carried_out, learned, ours
from everlearn.server.response_filters import taken_in
from everlearn.server.response_shapes import Item, ResponseRequest, messages_in
from everlearn.server.tools import Call, CallSplitter, Tool, Toolbox, tools_of, with_tools
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

Event = dict[str, Any]
KIND = "response"
CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}  # why a response is incomplete


@final
@dataclass(slots=True)
class Responding:
    """A response in the making.

    Args:
        asker: who asks.
        body: of the request, checked.
        items: its input.
        before: items of the responses that it goes on from.
        session: conversation that its turn is kept in.
        filtered: what filters found in its input, which has passed them.
    """

    asker: Asker
    body: ResponseRequest
    items: list[Item]
    before: list[Item]
    session: str
    filtered: tuple[Filtered, ...] = ()
    id: str = field(default_factory=lambda: f"resp_{new_id()}")
    created_at: int = field(default_factory=lambda: int(time.time()))
    output: list[Item] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    tools: Toolbox = field(default_factory=Toolbox)
    known: Toolbox = field(default_factory=Toolbox)
    sequence: int = 0

    def ask(self) -> Ask:
        """What is asked.

        Raises:
            EverlearnError: an unknown model or table, tools that are none, or nothing to answer.
        """
        body = self.body
        self.tools = tools_of(body.tools, body.tool_choice, parallel=body.parallel_tool_calls is not False)
        own = MEMORY_TOOLS if body.learning.tools and self._may_write else ()
        self.known = self.tools if self.tools.must else self.tools.and_(own)
        said = messages_in([*self.before, *self.items])
        if body.instructions:
            said = [Message("system", body.instructions), *said]
        grammar = self.tools.grammar or grammar_of(body.text.format if body.text else None)
        found = asking.ask_of(self.asker, body.sampled(), with_tools(said, self.known), 0, grammar, self.filtered)
        return replace(found, session=self.session)

    def intent(self) -> Intent | None:
        """What its last message wants to be learned; None where it only asks."""
        if not self.items or self.items[-1]["type"] != "message" or not self._may_write:
            return None
        return intent_of(messages_in([*self.before, *self.items]))

    @property
    def _may_write(self) -> bool:
        return asking.may_write(self.asker, self.body.learning)

    def event(self, kind: str, **fields: Any) -> Event:  # noqa: ANN401 -- fields of an event
        """The next event."""
        told = {"type": kind, **fields, "sequence_number": self.sequence}
        self.sequence += 1
        return told

    def told(self, status: str, answer: Answer | None = None, error: EverlearnError | None = None) -> dict[str, Any]:
        """The response as it stands."""
        body = self.body
        cut = None if answer is None else CUT.get(answer.finish_reason)
        form = body.text.format if body.text else {"type": "text"}
        told: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": {"code": "server_error", "message": str(error)} if error else None,
            "incomplete_details": {"reason": cut} if cut else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": body.model,
            "output": list(self.output),
            "parallel_tool_calls": bool(body.parallel_tool_calls),
            "previous_response_id": body.previous_response_id,
            "store": bool(body.store) and self.asker.room.settings.keep_turns,
            "temperature": body.temperature if body.temperature is not None else 0.0,
            "text": {"format": form},
            "tool_choice": body.tool_choice or "auto",
            "tools": [_tool_told(tool) for tool in self.tools.tools],
            "top_p": body.top_p if body.top_p is not None else 1.0,
            "truncation": "disabled",
            "metadata": body.metadata or {},
        }
        if body.user is not None:
            told["user"] = body.user
        if answer is None:
            return told
        return {**told, "usage": _usage(answer), "learning": asking.learning_of(answer, self.done)}


def begun(asker: Asker, body: ResponseRequest) -> Responding:
    """A response whose input was read.

    Raises:
        ContentFilterError: the input may not be asked.
        EverlearnError: the input cannot be read, or what it goes on from is not there.
    """
    body, before, session = body.checked(), [], f"resp-{new_id()}"
    if body.previous_response_id:
        kept = asker.tenant.objects.get(KIND, body.previous_response_id).body
        before, session = [*kept["before"], *kept["input"], *kept["response"]["output"]], kept["session"]
    body, items, found = taken_in(Filters(asker.room, asker.tenant), body)
    return Responding(asker, body, items, before, session, found)


async def events(work: Responding) -> AsyncIterator[Event]:
    """All events of a response, up to response.completed, response.incomplete or response.failed.

    Raises:
        EverlearnError: before the first event: it cannot be answered at all.
    """
    stream = _learning(work, intent) if (intent := work.intent()) else asking.pieces(work.asker, work.ask())
    first = await anext(stream)
    yield work.event("response.created", response=work.told("in_progress"))
    yield work.event("response.in_progress", response=work.told("in_progress"))
    writer = _Writer(work)
    try:
        async for told in writer.take(first):
            yield told
        async for piece in stream:
            async for told in writer.take(piece):
                yield told
    except EverlearnError as error:
        yield work.event("response.failed", response=work.told("failed", error=error))
        return
    answer = writer.answer
    assert answer is not None, "an answer has an end"
    status = "incomplete" if answer.finish_reason in CUT else "completed"
    response = await run_in_threadpool(_kept, work, work.told(status, answer), answer)
    yield work.event(f"response.{status}", response=response)


async def _learning(work: Responding, intent: Intent) -> AsyncIterator[Piece | Answer]:
    """The confirmation of what was learned, as the pieces of an answer."""
    answer, work.done = await run_in_threadpool(learned, work.asker, intent)
    said = messages_in(work.items)[-1].content
    await run_in_threadpool(asking.keep_turn, work.asker, said, answer, work.session)
    yield Piece(answer.text)
    yield answer


@final
class _Writer:
    """Turns pieces into output items and their events."""

    def __init__(self, work: Responding) -> None:
        self._work = work
        self._splitter = CallSplitter(work.known)
        self._item: Item | None = None
        self._text = ""
        self.answer: Answer | None = None

    async def take(self, piece: Piece | Answer) -> AsyncIterator[Event]:
        """Events of the next piece."""
        if not isinstance(piece, Answer):
            for told in self._words(self._splitter.feed(piece.text)):
                yield told
            return
        self.answer, work = piece, self._work
        words, calls = self._end()
        if ours(calls, work.tools):
            confirmed, work.done = await run_in_threadpool(carried_out, work.asker, calls)
            words, calls = words + confirmed, []
        for told in self._words(words):
            yield told
        if self._item is None and not calls:  # an empty answer is a message, too
            for told in self._open():
                yield told
        for told in self._close():
            yield told
        for call in calls:
            for told in self._called(call):
                yield told

    def _end(self) -> tuple[str, Sequence[Call]]:
        """Words that were held back, and calls; none where the answer was blocked: one may not be whole."""
        words, calls = self._splitter.end()
        assert self.answer is not None, "called with the answer"
        return words, [] if self.answer.finish_reason == "content_filter" else calls

    def _words(self, words: str) -> list[Event]:
        if not words:
            return []
        opened = self._open() if self._item is None else []
        self._text += words
        return [*opened, self._part_event("response.output_text.delta", delta=words, logprobs=[])]

    def _open(self) -> list[Event]:
        work = self._work
        self._item = {"id": f"msg_{new_id()}", "type": "message", "role": "assistant"}
        item = {**self._item, "status": "in_progress", "content": []}
        return [
            work.event("response.output_item.added", output_index=0, item=item),
            self._part_event("response.content_part.added", part=_part("")),
        ]

    def _close(self) -> list[Event]:
        if self._item is None:
            return []
        assert self.answer is not None, "closed at the end"
        status = "incomplete" if self.answer.finish_reason in CUT else "completed"
        item = {**self._item, "status": status, "content": [_part(self._text)]}
        self._work.output.append(item)
        return [
            self._part_event("response.output_text.done", text=self._text, logprobs=[]),
            self._part_event("response.content_part.done", part=_part(self._text)),
            self._work.event("response.output_item.done", output_index=0, item=item),
        ]

    def _called(self, call: Call) -> list[Event]:
        work, place = self._work, len(self._work.output)
        item = {"id": f"fc_{new_id()}", "type": "function_call", "call_id": call.id, "name": call.name}
        whole = {**item, "arguments": call.arguments, "status": "completed"}
        work.output.append(whole)
        at = {"item_id": item["id"], "output_index": place}
        begun_ = {**item, "arguments": "", "status": "in_progress"}
        done = "response.function_call_arguments.done"
        return [
            work.event("response.output_item.added", output_index=place, item=begun_),
            work.event("response.function_call_arguments.delta", **at, delta=call.arguments),
            work.event(done, **at, name=call.name, arguments=call.arguments),
            work.event("response.output_item.done", output_index=place, item=whole),
        ]

    def _part_event(self, kind: str, **fields: Any) -> Event:  # noqa: ANN401 -- fields of an event
        assert self._item is not None, "a message is open"
        return self._work.event(kind, item_id=self._item["id"], output_index=0, content_index=0, **fields)


def _kept(work: Responding, response: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Keep a response with its turn; returns it, saying whether it is kept."""
    if response["store"]:
        body = {"response": response, "input": work.items, "before": work.before, "session": work.session}
        thing = StoredObject(work.id, KIND, body, turn_id=answer.receipt.id, created_at=work.created_at)
        response["store"] = work.asker.tenant.objects.put(thing)
    return response


def _part(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _tool_told(tool: Tool) -> dict[str, Any]:
    told = {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {**told, "strict": False}


def _usage(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }

"""From an async request to an answer: decoded in a batch, heard piece by piece, ended when nobody listens any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, final

from everlearn.engine.batcher import Batcher
from everlearn.engine.prompt import AsOf
from everlearn.engine.ticket import Piece
from everlearn.errors import EverlearnError
from everlearn.records import Answer, Filtered, Message, Sampling
from everlearn.server.tenants import Tenant

Event = Piece | Answer | EverlearnError
Emit = Callable[[Event], None]
Cancel = Callable[[], None]


@final
@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked.

    Attributes:
        messages: ending with the user's.
        tables: to ask; None = all that belong to nobody; () = none.
        adapter: as for `Engine.answer`.
        sampling: how.
        as_of: the moment asked about.
        session: conversation that the turn is kept in; empty = one of its own.
        filtered: what filters found in the messages, which have passed them.
        check_claims: compare the answer with the lessons that it rests on.
    """

    messages: Sequence[Message]
    tables: Sequence[str] | None = None
    adapter: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    as_of: AsOf = None
    session: str = ""
    filtered: tuple[Filtered, ...] = ()
    check_claims: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """How much is going on.

    Attributes:
        running: answers under way.
        waiting: answers that wait to begin.
        cache_tokens: tokens in attention caches of running answers.
        cache_bytes: bytes of those.
        kept_tokens: tokens of attention caches that are kept of earlier prompts.
        kept_bytes: bytes of those.
    """

    running: int = 0
    waiting: int = 0
    cache_tokens: int = 0
    cache_bytes: int = 0
    kept_tokens: int = 0
    kept_bytes: int = 0


class Answering(Protocol):
    """Answers questions of several tenants at once."""

    def start(self, tenant: Tenant, ask: Ask, emit: Emit, deadline: float) -> Cancel:
        """Begin an answer. `emit` gets its pieces and, last, the Answer or what went wrong, from another thread.

        Args:
            tenant: whose lessons are asked.
            ask: what.
            emit: must not block.
            deadline: seconds after which it is given up.

        Returns:
            What ends the answer before its next token; from any thread, any number of times.

        Raises:
            OverloadedError: too many wait already.
        """
        ...

    def load(self) -> Load:
        """How much is going on."""
        ...

    def close(self) -> None:
        """End all answers."""
        ...


@final
class BatchedAnswering:
    """Answers of a tenant are decoded together; tenants have modules of their own, and take turns at the processor.

    Args:
        most_rows: answers of a tenant that are decoded together.
        most_waiting: answers of a tenant that may wait; further ones are refused.
    """

    def __init__(self, *, most_rows: int = 16, most_waiting: int = 64) -> None:
        self._most_rows, self._most_waiting = most_rows, most_waiting
        self._batchers: dict[str, Batcher] = {}
        self._lock = threading.Lock()

    def start(self, tenant: Tenant, ask: Ask, emit: Emit, deadline: float) -> Cancel:
        """Begin an answer as soon as there is room in the batch."""
        ticket = self._batcher(tenant).submit(
            tenant.engine,
            list(ask.messages),
            tables=ask.tables,
            sampling=ask.sampling,
            adapter=ask.adapter,
            as_of=ask.as_of,
            tenant=tenant.name,
            deadline=deadline,
        )
        ticket.listen(emit)
        return ticket.cancel

    def load(self) -> Load:
        """How much is going on, over all tenants."""
        with self._lock:
            loads = [batcher.load() for batcher in self._batchers.values()]
        return Load(
            running=sum(load.running + load.reading for load in loads),
            waiting=sum(load.waiting for load in loads),
            cache_tokens=sum(load.cache_tokens for load in loads),
            cache_bytes=sum(load.cache_bytes for load in loads),
            kept_tokens=sum(load.kept_tokens for load in loads),
            kept_bytes=sum(load.kept_bytes for load in loads),
        )

    def close(self) -> None:
        """End all answers."""
        with self._lock:
            for batcher in self._batchers.values():
                batcher.close()

    def _batcher(self, tenant: Tenant) -> Batcher:
        with self._lock:
            if tenant.name not in self._batchers:
                self._batchers[tenant.name] = Batcher(
                    tenant.engine.model, max_rows=self._most_rows, max_waiting=self._most_waiting
                )
            return self._batchers[tenant.name]


async def heard(
    answering: Answering, tenant: Tenant, ask: Ask, deadline: float, enough: Callable[[], bool] = lambda: False
) -> AsyncIterator[Piece | Answer]:
    """Pieces of an answer and, last, the Answer. Leaving the loop early ends the answer.

    Where `enough` says so the answer is ended, too, but what it rests on is still told: the Answer comes.

    Raises:
        OverloadedError: too many wait.
        DeadlineError: the answer was not there in `deadline` seconds.
        EverlearnError: as `Engine.answer`.
    """
    loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

    def emit(event: Event) -> None:
        # A loop that is gone has nobody left who listens.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    cancel = answering.start(tenant, ask, emit, deadline)
    try:
        while True:
            event = await events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Answer):
                return
            if enough():
                cancel()
    finally:
        cancel()

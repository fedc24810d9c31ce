"""From an async request to an answer: begun in a thread, heard piece by piece, ended when nobody listens any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, final

from everlearn.engine.prompt import AsOf
from everlearn.errors import EverlearnError, OverloadedError
from everlearn.records import Answer, Message, Sampling
from everlearn.server.tenants import Tenant

Event = str | Answer | Exception
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
    """

    messages: Sequence[Message]
    tables: Sequence[str] | None = None
    adapter: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    as_of: AsOf = None
    session: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is going on: answers under way, and answers that wait to begin."""

    running: int
    waiting: int


class Answering(Protocol):
    """Answers questions of several tenants at once."""

    def start(self, tenant: Tenant, ask: Ask, emit: Emit) -> Cancel:
        """Begin an answer. `emit` gets its pieces and, last, the Answer or what went wrong, from another thread.

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
class ThreadedAnswering:
    """One thread for each running answer; they take turns at the model, token by token.

    Args:
        most_running: answers at once.
        most_waiting: answers that may wait; further ones are refused.
    """

    def __init__(self, *, most_running: int = 8, most_waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(most_running, thread_name_prefix="everlearn-answer")
        self._most_running, self._most_waiting = most_running, most_waiting
        self._lock = threading.Lock()
        self._begun = self._waiting = 0
        self._seconds = 1.0  # that an answer took lately

    def start(self, tenant: Tenant, ask: Ask, emit: Emit) -> Cancel:
        """Begin an answer as soon as a thread is free."""
        with self._lock:
            if self._waiting >= self._most_waiting:
                wait = self._seconds * self._waiting / self._most_running
                raise OverloadedError(
                    f"{self._waiting} requests wait already.", hint=f"Try again in {wait:.0f} s.", retry_after=wait
                )
            self._waiting += 1
        stopped = threading.Event()
        self._pool.submit(self._run, tenant, ask, emit, stopped)
        return stopped.set

    def load(self) -> Load:
        """How much is going on."""
        with self._lock:
            return Load(self._begun, self._waiting)

    def close(self) -> None:
        """Wait for answers under way, drop those that wait."""
        self._pool.shutdown(cancel_futures=True)

    def _run(self, tenant: Tenant, ask: Ask, emit: Emit, stopped: threading.Event) -> None:
        begun = time.perf_counter()
        with self._lock:
            self._waiting -= 1
            self._begun += 1
        try:
            if stopped.is_set():
                return
            stream = tenant.engine.stream(
                list(ask.messages), tables=ask.tables, sampling=ask.sampling, adapter=ask.adapter, as_of=ask.as_of
            )
            for piece in stream:
                if stopped.is_set():
                    stream.close()
                    break
                emit(piece)
            emit(stream.answer)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it belongs to who waits for the answer
            emit(error)
        finally:
            with self._lock:
                self._begun -= 1
                self._seconds += 0.2 * (time.perf_counter() - begun - self._seconds)


async def heard(answering: Answering, tenant: Tenant, ask: Ask, deadline: float) -> AsyncIterator[str | Answer]:
    """Pieces of an answer and, last, the Answer. Leaving the loop early ends the answer.

    Raises:
        OverloadedError: too many wait, or the answer was not there in `deadline` seconds.
        EverlearnError: as `Engine.stream`.
    """
    loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

    def emit(event: Event) -> None:
        loop.call_soon_threadsafe(events.put_nowait, event)

    cancel = answering.start(tenant, ask, emit)
    ends = loop.time() + deadline
    try:
        while True:
            try:
                event = await asyncio.wait_for(events.get(), max(0.0, ends - loop.time()))
            except TimeoutError as cause:
                raise OverloadedError(
                    f"No answer in {deadline:g} seconds.", hint="Ask for less, or later.", retry_after=deadline / 4
                ) from cause
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, Answer):
                return
    finally:
        cancel()


async def answered(answering: Answering, tenant: Tenant, ask: Ask, deadline: float) -> Answer:
    """The whole answer."""
    async for event in heard(answering, tenant, ask, deadline):
        if isinstance(event, Answer):
            return event
    raise EverlearnError("The answer ended without an end.")

"""Continuous batching: answers of several engines over one base model, decoded together.

Two threads work for all of them. One settles what an answer rests on (recall, tokens, corrections, grammar), the other
owns the running batch: between two decode steps it reads a bounded number of prompt tokens, lets rows join that are
ready, and drops those that are finished, cancelled or late. They and every learner take turns at the model's lock.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from everlearn.engine.begun import Prepared
from everlearn.engine.engine import Engine
from everlearn.engine.kept import KeptCaches
from everlearn.engine.prompt import AsOf, Prompt, messages_of, moment
from everlearn.engine.sampling import checked
from everlearn.engine.ticket import Ticket
from everlearn.engine.waiting import FairQueue, Request
from everlearn.engine.worker import Worker, fault, is_over, late, unbegun
from everlearn.errors import OverloadedError, SettingsError
from everlearn.models.base import BaseModel
from everlearn.records import DEFAULT_TENANT, Sampling

_TENANTS = 4  # full queues of this many tenants may stand together
_PATIENCE = (1.0, 60.0)  # seconds, bounds of what is told to who comes too early


@dataclass(frozen=True, slots=True)
class Load:
    """What a batcher is doing, and what it did since it was made.

    Attributes:
        running: answers that are being decoded.
        reading: answers whose prompts are being prepared or read.
        waiting: requests for which there is no place yet.
        prefill_tokens: prompt tokens that are still to be read of those.
        cache_tokens: tokens in the attention caches of running answers.
        cache_bytes: bytes of those caches, free places included.
        kept_tokens: tokens of caches kept of earlier prompts.
        kept_bytes: bytes of those.
        counts: since the start: "prompt_tokens" read, "cached_tokens" not read again, "generated_tokens", "steps", and
            answers by how they ended: a finish reason or the code of an error.
        retry_after: seconds that somebody is told who comes while the queue is full.
    """

    running: int
    reading: int
    waiting: int
    prefill_tokens: int
    cache_tokens: int
    cache_bytes: int
    kept_tokens: int
    kept_bytes: int
    counts: dict[str, int]
    retry_after: float


@final
class Batcher:
    """Answers many requests at once. All methods may be called from any thread.

    Args:
        model: the base model that all engines share.
        max_rows: answers under way at once.
        max_waiting: requests of one tenant that may wait besides; four times as many of all tenants together.
        prefill_tokens: prompt tokens read between two decode steps; more lets new answers begin sooner, and running
            ones stand still for longer.
        kept_bytes: for attention caches of earlier prompts; 0 = none are kept.

    Raises:
        SettingsError: one of them is impossible.
    """

    def __init__(
        self,
        model: BaseModel,
        max_rows: int = 16,
        max_waiting: int = 64,
        prefill_tokens: int = 128,
        kept_bytes: int = 256 * 2**20,
    ) -> None:
        given = {"max_rows": max_rows, "max_waiting": max_waiting, "prefill_tokens": prefill_tokens}
        for name, value in {**given, "kept_bytes": kept_bytes}.items():
            least = 1 if name in given else 0
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SettingsError(f"{name} is {value!r}, wanted a whole number from {least}.", hint="Leave it out.")
        self.model = model
        self.max_rows = max_rows
        self.max_waiting = max_waiting
        self._queue = FairQueue()
        self._worker = Worker(model, prefill_tokens, KeptCaches(kept_bytes))
        self._changed = threading.Condition()
        self._preparing: Request | None = None
        self._ready: deque[tuple[Request, Prepared]] = deque()
        self._under_way: Counter[str] = Counter()  # tenant -> answers
        self._closed = False
        self._threads = [
            threading.Thread(target=self._prepare_all, name="everlearn-prepare", daemon=True),
            threading.Thread(target=self._work, name="everlearn-batch", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        engine: Engine,
        prompt: Prompt,
        *,
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        as_of: AsOf = None,
        tenant: str = DEFAULT_TENANT,
        deadline: float | None = None,
    ) -> Ticket:
        """Ask for an answer, as by `Engine.answer`; errors that need the memory come with the ticket.

        Args:
            engine: who answers: an engine over this batcher's base model.
            prompt: a question, or messages that end with the user's.
            tables: as for `Engine.answer`.
            sampling: how tokens are chosen; greedy by default.
            adapter: as for `Engine.answer`.
            as_of: as for `Engine.answer`.
            tenant: who asks: for the fair queue, and as the wall between kept caches.
            deadline: seconds from now after which nobody wants the answer any more; None = never.

        Raises:
            OverloadedError: too many wait, or the batcher is closed.
            ConversationError: the prompt is empty or malformed.
            SettingsError: a sampling setting, `as_of` or the deadline is impossible, or the engine has another model.
        """
        if engine.model is not self.model:
            raise SettingsError("The engine has another base model.", hint="Build it over the model of this batcher.")
        if deadline is not None and not deadline > 0:
            raise SettingsError(f"The deadline is {deadline!r}, wanted seconds above 0.", hint="Leave it out.")
        messages, settings, when = messages_of(prompt), checked(sampling or Sampling()), moment(as_of)
        ticket = Ticket(tenant, self._wake)
        expires = None if deadline is None else ticket.asked_at + deadline
        request = Request(ticket, engine, messages, tables, settings, adapter, when, expires)
        with self._changed:
            self._check_room(tenant)
            self._queue.put(request)
            self._changed.notify_all()
        return ticket

    def load(self) -> Load:
        """What it is doing, for metrics."""
        with self._changed:
            worker, batch = self._worker, self._worker.batch
            reading = list(worker.reading)
            return Load(
                running=len(batch.rows),
                reading=len(reading) + len(self._ready) + (self._preparing is not None),
                waiting=len(self._queue),
                prefill_tokens=sum(r.left for r in reading) + sum(len(p.prompt_ids) for _, p in self._ready),
                cache_tokens=batch.tokens,
                cache_bytes=batch.nbytes,
                kept_tokens=worker.kept.tokens,
                kept_bytes=worker.kept.nbytes,
                counts=dict(worker.counts),
                retry_after=self._retry_after(),
            )

    def drop_kept(self, tenant: str | None = None) -> None:
        """Give up the kept caches of a tenant, such as one that is deleted; None = of all."""
        self._worker.kept.drop(tenant)

    def close(self) -> None:
        """Take no more requests, end those that are under way as cancelled, and wait for the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _check_room(self, tenant: str) -> None:
        if self._closed:
            raise OverloadedError("The engine is shutting down.", retry_after=_PATIENCE[0], hint="Ask again later.")
        mine, all_ = self._queue.of(tenant), len(self._queue)
        if mine >= self.max_waiting or all_ >= _TENANTS * self.max_waiting:
            self._worker.counts["overloaded"] += 1
            after = self._retry_after()
            raise OverloadedError(
                f"{all_} requests wait already.", retry_after=after, hint=f"Ask again in {after:.0f} s."
            )

    def _retry_after(self) -> float:
        """Seconds until about half of those who wait have had their turn, by the pace of the last answers."""
        ends = self._worker.finished_at
        pace = (time.monotonic() - ends[0]) / len(ends) if ends else 1.0
        return min(max(pace * len(self._queue) / 2, _PATIENCE[0]), _PATIENCE[1])

    def _free(self) -> bool:
        return self._under_way.total() < self.max_rows

    def _prepare_all(self) -> None:
        """The first thread: settle what each answer rests on."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (len(self._queue) > 0 and self._free()))
                request = None if self._closed else self._queue.take(self._under_way)
                if request is None:
                    return
                self._under_way[request.ticket.tenant] += 1
                self._preparing = request
            self._prepare(request)

    def _prepare(self, request: Request) -> None:
        engine = request.engine
        request.ticket.taken_at = time.monotonic()
        try:
            answerer = engine.answerer
            recall = answerer.recall([request.messages], request.tables, request.as_of)[0]
            worn = answerer.adapter_for(request.messages, recall, request.adapter)
            prepared = answerer.prepare(request.messages, recall, request.sampling, worn)
        except Exception as cause:  # noqa: BLE001 -- one request's fault is not the others'
            with self._changed:
                self._preparing = None
                self._worker.end(request, fault(cause))
                self._leave(request)
            return
        with self._changed:
            self._preparing = None
            self._ready.append((request, prepared))
            self._changed.notify_all()

    def _leave(self, request: Request) -> None:
        self._under_way -= Counter([request.ticket.tenant])
        self._changed.notify_all()

    def _work(self) -> None:
        """The second thread: the running batch."""
        worker, under_way = self._worker, list[Request]()
        with torch.inference_mode():
            while True:
                with self._changed:
                    self._sweep()
                    if not self._closed and not worker.busy and not self._ready:
                        self._changed.wait(self._patience())
                        continue
                    ready, closed = list(self._ready), self._closed
                    self._ready.clear()
                if closed:
                    return self._stop([request for request, _ in ready])
                under_way += [request for request, _ in ready]
                for request, prepared in ready:
                    worker.begin(request, prepared)
                worker.round()
                gone = [request for request in under_way if request.ticket.done]
                if gone:
                    under_way = [request for request in under_way if not request.ticket.done]
                    with self._changed:
                        for request in gone:
                            self._leave(request)

    def _sweep(self) -> None:
        """End those who wait and are cancelled or late, and tell who is being prepared that it is too late."""
        now = time.monotonic()
        for request in self._queue.drop(lambda each: is_over(each, now)):
            self._worker.end(request, unbegun(request) if request.ticket.cancelled else late(request))
        if self._preparing is not None and is_over(self._preparing, now) and not self._preparing.ticket.done:
            request = self._preparing
            self._worker.end(request, unbegun(request) if request.ticket.cancelled else late(request))

    def _patience(self) -> float | None:
        """Seconds until somebody who waits is late; None = nobody will be."""
        first = self._queue.first_expiry()
        if self._preparing is not None and self._preparing.expires is not None and not self._preparing.ticket.done:
            first = min(first or self._preparing.expires, self._preparing.expires)
        return None if first is None else max(first - time.monotonic(), 0.0)

    def _stop(self, ready: list[Request]) -> None:
        self._worker.stop()
        with self._changed:
            for request in [*ready, *self._queue.drop(lambda _: True)]:
                self._worker.end(request, unbegun(request))

"""What the batcher's thread does: read prompts in chunks, decode a step, let rows join and leave."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from typing import final

from torch import Tensor

from everlearn.engine.batch import Batch, Speaking
from everlearn.engine.begun import Prepared
from everlearn.engine.kept import BLOCK, KeptCaches
from everlearn.engine.reading import Reading
from everlearn.engine.ticket import Said
from everlearn.engine.waiting import Request
from everlearn.errors import DeadlineError, EverlearnError, FaultError
from everlearn.models.base import BaseModel
from everlearn.records import Answer, Receipt, Usage
from everlearn.store.ids import new_id

_log = logging.getLogger(__name__)


def late(request: Request) -> DeadlineError:
    """The error of a request whose deadline has passed."""
    waited = time.monotonic() - request.ticket.asked_at
    return DeadlineError(
        f"The answer was not there after {waited:.1f} s.", hint="Give it more time, or ask when less is going on."
    )


def fault(cause: Exception) -> EverlearnError:
    """An exception as the tree of errors knows it."""
    if isinstance(cause, EverlearnError):
        return cause
    _log.error("An answer failed.", exc_info=cause)
    made = FaultError(
        f"The model failed in the middle of an answer ({type(cause).__name__}: {cause}).", hint="Ask again."
    )
    made.__cause__ = cause
    return made


def unbegun(request: Request) -> Answer:
    """The answer of a request that was cancelled before anything was said."""
    return Answer("", Receipt(new_id(), request.engine.name, ()), Usage(), "cancelled")


@final
class Worker:
    """The answers under way. One thread at a time.

    Args:
        model: the base model.
        prefill_tokens: of new prompts at most, between two steps.
        kept: caches of earlier prompts.

    Attributes:
        counts: prompt, cached and generated tokens; steps; answers by how they ended.
    """

    def __init__(self, model: BaseModel, prefill_tokens: int, kept: KeptCaches) -> None:
        self.batch = Batch(model)
        self.reading: deque[Reading] = deque()
        self.kept = kept
        self.counts: Counter[str] = Counter()
        self.finished_at: deque[float] = deque(maxlen=32)
        self._prefill_tokens = prefill_tokens

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self.reading or self.batch.rows)

    def begin(self, request: Request, prepared: Prepared) -> None:
        """Take on an answer whose prompt is to be read, unless it was ended while it was prepared."""
        if request.ticket.done:
            return
        try:
            self.reading.append(Reading(request, prepared, self.kept))
        except Exception as cause:  # noqa: BLE001 -- its adapter may be gone
            self.end(request, fault(cause))

    def round(self) -> None:
        """Drop who is cancelled or late, read some of the waiting prompts, and decode one token of each answer."""
        self._sweep()
        self._read()
        self._step()

    def stop(self) -> None:
        """End everything as cancelled."""
        while self.reading:
            gone = self.reading.popleft()
            self.end(gone.request, unbegun(gone.request))
        for row in self.batch.clear():
            self._stop(row)
            self.end(row.request, self._answer(row))

    def end(self, request: Request, said: Said) -> None:
        """Tell the end of an answer, and count it; an answer has one end."""
        if request.ticket.done:
            return
        self.counts[said.finish_reason if isinstance(said, Answer) else getattr(said, "code", "")] += 1
        self.finished_at.append(time.monotonic())
        request.ticket.tell(said)

    def _sweep(self) -> None:
        now = time.monotonic()
        for reading in list(self.reading):
            if is_over(reading.request, now):
                self.reading.remove(reading)
                request = reading.request
                self.end(request, late(request) if is_late(request, now) else unbegun(request))
        for row in list(self.batch.rows):
            if is_over(row.request, now):
                self._leave(row, late(row.request) if is_late(row.request, now) else None)

    def _read(self) -> None:
        """Prompts in the order in which they came; nobody waits for a step where none is decoded."""
        budget = self._prefill_tokens
        while self.reading and budget > 0:
            reading = self.reading[0]
            before = reading.left
            try:
                begun = reading.read(budget)
            except Exception as cause:  # noqa: BLE001 -- one prompt's fault is not the others'
                self.reading.popleft()
                self.end(reading.request, fault(cause))
                continue
            budget -= before - reading.left
            self.counts["prompt_tokens"] += before - reading.left
            if begun is None:
                return
            self.reading.popleft()
            self.counts["cached_tokens"] += reading.cached
            self._first(Speaking(reading.request, begun, reading.identity))

    def _first(self, row: Speaking) -> None:
        """Choose the first token; most answers then join the batch."""
        if not self._take(row, row.begun.row.logits):
            return
        if row.finished:
            self._keep(row, None)
            self.end(row.request, self._answer(row))
            return
        self.batch.join(row)

    def _step(self) -> None:
        if not self.batch.rows:
            return
        self._drop_unloaded()
        rows = list(self.batch.rows)
        if not rows:
            return
        try:
            logits = self.batch.step()
        except Exception as cause:  # noqa: BLE001 -- the cache may be half written: exactly the answers of this step are lost
            for row in self.batch.clear():
                self.end(row.request, fault(cause))
            return
        self.counts["steps"] += 1
        for row, own in zip(rows, logits, strict=True):
            if not self._take(row, own):
                self.batch.leave(row)
            elif row.finished:
                self._leave(row, None)

    def _take(self, row: Speaking, logits: Tensor) -> bool:
        """Choose a row's next token and tell what is certain; False where that failed, and was told."""
        try:
            text = row.begun.row.take(logits)
            self.counts["generated_tokens"] += 1
            piece = row.say(text)
        except Exception as cause:  # noqa: BLE001 -- a sampler's or grammar's fault is this row's alone
            self.end(row.request, fault(cause))
            return False
        if piece is not None:
            row.request.ticket.tell(piece)
        return True

    def _leave(self, row: Speaking, error: EverlearnError | None) -> None:
        self._stop(row)
        if error is None:
            self._keep(row, self.batch)
        self.batch.leave(row)
        self.end(row.request, error or self._answer(row))

    def _stop(self, row: Speaking) -> None:
        piece = row.stop()
        if piece is not None:
            row.request.ticket.tell(piece)

    def _keep(self, row: Speaking, batch: Batch | None) -> None:
        """Keep of a finished answer's cache what is a function of its tokens alone; without a batch, of its own."""
        begun = row.begun
        cache = begun.row.cache if batch is None else batch.cache_of(row)
        ids = (begun.prompt_ids + begun.row.tokens)[: cache.lengths[0]]
        plain = min(begun.plain_tokens, len(ids))
        if plain < BLOCK:
            return
        cache.crop(plain)
        plain = cache.lengths[0]  # of a model with states it may be less
        self.kept.keep(row.request.ticket.tenant, row.identity, ids[:plain], cache)

    def _drop_unloaded(self) -> None:
        """An adapter that is gone, since a lesson of its lineage was forgotten, ends the answers that wear it."""
        for row in list(self.batch.rows):
            adapter, specialists = row.begun.row.adapter, row.request.engine.specialists
            if adapter is not None and specialists is not None and adapter not in specialists.adapters.loaded:
                gone = FaultError(f"The adapter {adapter} was removed while it answered.", hint="Ask again.")
                self._leave(row, gone)

    def _answer(self, row: Speaking) -> Answer:
        return row.request.engine.answerer.finished(row.begun, "".join(row.said))


def is_late(request: Request, now: float) -> bool:
    """Whether the deadline of a request has passed."""
    return request.expires is not None and now >= request.expires


def is_over(request: Request, now: float) -> bool:
    """Whether nobody wants a request's answer any more."""
    return request.ticket.cancelled or is_late(request, now)

"""Prompts that are being read, some tokens at a time, while other answers are decoded."""

from __future__ import annotations

import time
from typing import final

from everlearn.engine.begun import Begun, Prepared
from everlearn.engine.decode import prefill
from everlearn.engine.kept import KeptCaches
from everlearn.engine.waiting import Request


def identity(request: Request, adapter: str | None) -> str:
    """What a cache was computed with besides the base model: an adapter and the digest of its weights, or nothing."""
    if adapter is None or request.engine.specialists is None:
        return ""
    return f"{adapter} {request.engine.specialists.shelf.find(adapter).weights}"


@final
class Reading:
    """A prompt on its way into a cache.

    Args:
        request: who asked.
        prepared: what was settled about the answer.
        kept: caches of earlier prompts.
    """

    def __init__(self, request: Request, prepared: Prepared, kept: KeptCaches) -> None:
        self.request = request
        self.prepared = prepared
        self.identity = identity(request, prepared.adapter)
        found, self.cached = kept.find(request.ticket.tenant, self.identity, prepared.prompt_ids)
        self._cache = found if found is not None else request.engine.model.new_cache()
        self._done = self.cached
        ticket = request.ticket
        self._queued = (time.monotonic() - ticket.asked_at) * 1000
        self._waited = (ticket.taken_at - ticket.asked_at) * 1000
        self._ms = 0.0

    @property
    def left(self) -> int:
        """Tokens that are still to be read."""
        return len(self.prepared.prompt_ids) - self._done

    def read(self, most: int) -> Begun | None:
        """Read at most so many tokens; the begun answer where these were the last.

        What is corrected is the last position of the prompt, in the last chunk, as when it is read at once.
        """
        since = time.perf_counter()
        given = self.prepared
        count = min(max(most, 1), self.left)
        last = count == self.left
        ids = given.prompt_ids[self._done : self._done + count]
        engine = self.request.engine
        logits = prefill(engine.model, ids, self._cache, given.cursor if last else None, given.adapter)
        self._done += count
        self._ms += (time.perf_counter() - since) * 1000
        if not last:
            return None
        begun = engine.answerer.begun(given, self._cache, logits, self.cached, self._ms)
        begun.queue_ms, begun.wait_ms = self._queued, self._waited
        begun.asked_at = self.request.ticket.asked_at
        return begun

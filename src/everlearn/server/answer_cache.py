"""Answers that were given before to the very same request, while nothing that shapes them has changed.

Off by default. Each tenant has a part of its own, so a hit tells nobody what another tenant asked. A lesson that is
taught or forgotten, or an adapter that changes, empties the tenant's part, so nothing forgotten stays in it. Lessons
may begin or end to hold at a moment: an answer is kept for at most a minute.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import final

from everlearn.records import Answer
from everlearn.server.answering import Ask
from everlearn.server.tenants import Tenant

KEPT_SECONDS = 60.0


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is, or would be.

    Attributes:
        tenant: whose.
        version: of all that the tenant has taught.
        key: all else that shapes the answer.
    """

    tenant: str
    version: tuple[int, int]
    key: Hashable


@dataclass(slots=True)
class _Part:
    version: tuple[int, int]
    answers: OrderedDict[Hashable, tuple[float, Answer]] = field(default_factory=OrderedDict)


@final
class AnswerCache:
    """The cache.

    Args:
        most: answers of one tenant; 0 = nothing is kept.
        clock: seconds that never go back.
    """

    def __init__(self, most: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._parts: dict[str, _Part] = {}
        self._lock = threading.Lock()

    def place(self, tenant: Tenant, ask: Ask) -> Place | None:
        """Where the answer belongs; None where it is not kept: it is drawn by chance, or part of a conversation."""
        sampling = ask.sampling
        if not self._most or ask.session or (sampling.temperature > 0 and sampling.seed is None):
            return None
        specialists = tenant.engine.specialists
        version = (tenant.engine.memory.store.seq(), specialists.shelf.stamp if specialists is not None else 0)
        tables = None if ask.tables is None else tuple(ask.tables)
        return Place(tenant.name, version, (tuple(ask.messages), tables, ask.adapter, sampling, str(ask.as_of)))

    def get(self, place: Place) -> Answer | None:
        """The answer, if it is there."""
        with self._lock:
            found = self._part(place).answers.get(place.key)
            return found[1] if found is not None and self._clock() - found[0] < KEPT_SECONDS else None

    def put(self, place: Place, answer: Answer) -> None:
        """Keep an answer, unless something has changed since its place was asked for."""
        if answer.finish_reason == "cancelled":
            return
        with self._lock:
            part = self._parts.get(place.tenant)
            if part is None or part.version != place.version:
                return
            part.answers[place.key] = (self._clock(), answer)
            part.answers.move_to_end(place.key)
            while len(part.answers) > self._most:
                part.answers.popitem(last=False)

    def clear(self, tenant: str) -> None:
        """Keep nothing of a tenant any more."""
        with self._lock:
            self._parts.pop(tenant, None)

    def _part(self, place: Place) -> _Part:
        part = self._parts.get(place.tenant)
        if part is None or part.version != place.version:
            part = self._parts[place.tenant] = _Part(place.version)
        return part

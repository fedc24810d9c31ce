"""How often a key may ask, and how many tokens it may have: buckets that fill up again as time goes by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from everlearn.errors import OverloadedError
from everlearn.server.caller import Caller


@final
@dataclass(frozen=True, slots=True)
class Rates:
    """Limits of one key (without keys: of the whole server), by the minute; 0 = none.

    Attributes:
        requests: requests a minute.
        tokens: tokens read and written a minute.
        lessons: lessons taught a minute.
    """

    requests: int = 0
    tokens: int = 0
    lessons: int = 0


@final
class RateLimits:
    """Buckets by key.

    Args:
        rates: of every key.
        clock: seconds that never go back.
    """

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self.rates = rates
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def take_request(self, caller: Caller) -> dict[str, str]:
        """Count a request; returns headers that tell how many are left.

        Raises:
            OverloadedError: too many.
        """
        headers: dict[str, str] = {}
        for what, limit in (("requests", self.rates.requests), ("tokens", self.rates.tokens)):
            if not limit:
                continue
            with self._lock:
                bucket = self._bucket(caller, what, limit)
                bucket.fill(self._clock())
                if bucket.left < (1.0 if what == "requests" else 0.0):
                    raise _too_many(what, limit, bucket)
                if what == "requests":
                    bucket.left -= 1.0
                headers[f"x-ratelimit-limit-{what}"] = str(limit)
                headers[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.left)))
                headers[f"x-ratelimit-reset-{what}"] = f"{(limit - bucket.left) * 60 / limit:.1f}s"
        return headers

    def take_tokens(self, caller: Caller, tokens: int) -> None:
        """Count tokens that were used; the bucket may go below zero, and the next request then waits."""
        if self.rates.tokens:
            with self._lock:
                bucket = self._bucket(caller, "tokens", self.rates.tokens)
                bucket.fill(self._clock())
                bucket.left -= tokens

    def take_lessons(self, caller: Caller, lessons: int) -> None:
        """Count lessons that are to be taught.

        Raises:
            OverloadedError: too many; none is counted.
        """
        if not self.rates.lessons:
            return
        with self._lock:
            bucket = self._bucket(caller, "lessons", self.rates.lessons)
            bucket.fill(self._clock())
            if bucket.left < min(lessons, self.rates.lessons):
                raise _too_many("lessons", self.rates.lessons, bucket)
            bucket.left -= lessons

    def _bucket(self, caller: Caller, what: str, limit: int) -> _Bucket:
        name = (caller.key_id or caller.tenant, what)
        if name not in self._buckets:
            self._buckets[name] = _Bucket(limit, float(limit), self._clock())
        return self._buckets[name]


@dataclass(slots=True)
class _Bucket:
    limit: int
    left: float
    at: float

    def fill(self, now: float) -> None:
        self.left = min(float(self.limit), self.left + (now - self.at) * self.limit / 60)
        self.at = now


def _too_many(what: str, limit: int, bucket: _Bucket) -> OverloadedError:
    wait = max(1.0, (1.0 - bucket.left) * 60 / limit)
    return OverloadedError(
        f"More than {limit:,} {what} a minute.", hint=f"Come back in {wait:.0f} seconds.", retry_after=wait
    )

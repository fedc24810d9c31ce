"""Ids of lessons, turns and receipts: made by the caller, sortable by time, safe in URLs and file names."""

from __future__ import annotations

import secrets
import threading
import time

ID_LENGTH = 26
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_STEP_BITS = 70  # ids of one millisecond lie far apart, so that a dozen characters tell them from each other


class _Clock:
    """The newest id of this process, so that the next one is greater even when the clock stands still or steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest = 0

    def next(self) -> int:
        milliseconds = time.time_ns() // 1_000_000
        drawn = (milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._newest = max(drawn, self._newest + 1 + secrets.randbits(_STEP_BITS))
            return self._newest


_clock = _Clock()


def new_id() -> str:
    """A new id.

    Returns:
        26 lower-case characters: 48 bits of milliseconds, then 80 random bits; rising within a process.

    Source: the ULID specification (Crockford's base 32), in lower case.
    """
    number = _clock.next()
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(5 * (ID_LENGTH - 1), -1, -5))

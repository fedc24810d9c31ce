"""Courtesy: work in the background waits while people are answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

_LOOK_SECONDS = 0.02  # a wait that somebody could notice begins at several times that


@final
class Courtesy:
    """Called before each step of work that nobody waits for: returns when no answer is under way.

    Where answers and a training compute at once on few cores, each takes as much longer as the other takes; the answers
    are what somebody waits for. After `most_seconds` the step is done all the same, so that a server that is never idle
    learns, too.

    Args:
        busy: whether answers are under way.
        most_seconds: that one step waits; 0 = none does.
    """

    def __init__(self, busy: Callable[[], bool], most_seconds: float) -> None:
        self._busy, self._most = busy, most_seconds

    def __call__(self) -> None:
        """Wait."""
        until = time.monotonic() + self._most
        while time.monotonic() < until and self._busy():
            time.sleep(_LOOK_SECONDS)

"""Courtesy: work in the background waits while people are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import final

_LOOK_SECONDS = 0.02  # a wait that somebody could notice begins at several times that
_LONGEST_STEP_SECONDS = 5.0  # of work is paid for; a thread may also come from a long rest


@final
class Courtesy:
    """Called between the steps of work that nobody waits for: returns when no answer is under way.

    Where answers and a training compute at once on few cores, each takes as much longer as the other takes; the answers
    are what somebody waits for. A server that is never idle learns, too: a step is waited for so long that all of them
    take their `share` of the time, however long they are.

    Args:
        busy: whether answers are under way.
        share: of the time that a thread may work while answers are under way, above 0; 1 = it never waits.

    Raises:
        ValueError: not such a share.
    """

    def __init__(self, busy: Callable[[], bool], share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"a share of {share}")
        self._busy, self._waits = busy, 1.0 / share - 1.0
        self._last = threading.local()  # when a thread began its step

    def __call__(self) -> None:
        """Wait, as long as the step before this took and the share says."""
        begun = time.monotonic()
        worked = min(begun - getattr(self._last, "at", begun - _LONGEST_STEP_SECONDS), _LONGEST_STEP_SECONDS)
        until = begun + self._waits * worked
        while time.monotonic() < until and self._busy():
            time.sleep(_LOOK_SECONDS)
        self._last.at = time.monotonic()

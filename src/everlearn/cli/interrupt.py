"""Ctrl-C ends an answer, not the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Cancellable(Protocol):
    """Work that can be ended early."""

    def cancel(self) -> None:
        """End it soon."""
        ...


@contextmanager
def cancelled_by_ctrl_c(work: Cancellable) -> Iterator[None]:
    """While the block runs the first Ctrl-C cancels `work`; the second one interrupts as usual.

    A flag instead of an exception: an exception could hit the model between two blocks and leave a cache half written.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    before = signal.getsignal(signal.SIGINT)

    def cancel(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        work.cancel()

    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

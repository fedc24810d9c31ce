"""One sleep at a time in a folder of adapters; nothing else changes them meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from everlearn.errors import StoreBusyError

LOCK = ".sleep.lock"


@contextmanager
def asleep(folder: Path) -> Iterator[None]:
    """Hold the lock that a sleep holds; the folder is made where it is missing.

    Raises:
        StoreBusyError: a sleep is under way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as cause:
        raise StoreBusyError("Another sleep is under way in this folder.", hint="Wait until it has ended.") from cause

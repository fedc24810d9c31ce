"""Consolidation that happens by itself: after so many new lessons a sleep begins in the background."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, final

from everlearn.engine.engine import Engine
from everlearn.errors import EverlearnError, SettingsError, StoreBusyError
from everlearn.records import Verdict

if TYPE_CHECKING:
    from everlearn.learning.sleep_settings import SleepSettings

_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The program ends; the training is gone on with at the next sleep. Internal."""


@final
class BackgroundSleep:
    """One thread that sleeps when enough was learned. Answers go on meanwhile: it trains on modules of its own.

    A sleep that another process is at, or that failed, is tried again after as many further lessons.

    Args:
        engine: with a folder of adapters.
        every: lessons after which a sleep begins.
        settings: of the sleep.

    Attributes:
        verdicts: of all candidates so far.

    Raises:
        SettingsError: the engine has no folder of adapters.
    """

    def __init__(self, engine: Engine, every: int, settings: SleepSettings | None = None) -> None:
        if engine.specialists is None:
            raise SettingsError("This engine has no folder of adapters.", hint="Open it with everlearn.load().")
        self.verdicts: list[Verdict] = []
        self._engine, self._every, self._settings = engine, every, settings
        self._fresh = 0
        self._stop = threading.Event()
        self._due = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, lessons: int) -> None:
        """So many lessons were learned."""
        with self._lock:
            self._fresh += lessons
            if self._fresh < self._every or self._stop.is_set():
                return
            self._fresh = 0
            self._idle.clear()
            self._due.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="everlearn-sleep", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no sleep is due or under way; False where the time was not enough."""
        return self._idle.wait(timeout)

    def close(self) -> None:
        """Stop after the update at hand; what was trained so far is gone on with at the next sleep."""
        self._stop.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        from everlearn.learning.sleep import Sleep

        while True:
            self._due.wait()
            self._due.clear()
            if self._stop.is_set():
                return
            try:
                self.verdicts += Sleep(self._engine, self._settings, progress=self._go_on).all()
            except _StoppedError:
                return
            except StoreBusyError:
                _log.info("another process sleeps already")
            except EverlearnError as error:
                _log.warning("the sleep in the background failed: %s", error)
            except Exception:  # noqa: BLE001 -- a thread has nobody above it to tell
                _log.exception("the sleep in the background failed; nothing was changed")
            finally:
                with self._lock:
                    if not self._due.is_set():
                        self._idle.set()

    def _go_on(self, _what: str, _done: int, _total: int) -> None:
        if self._stop.is_set():
            raise _StoppedError

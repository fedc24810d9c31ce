"""Corrections in the background: missing values are computed once teaching has paused."""

from __future__ import annotations

import logging
import threading
from typing import final

from everlearn.engine.engine import Engine
from everlearn.errors import EverlearnError

_log = logging.getLogger(__name__)
_QUIET_S = 0.25


@final
class BackgroundCorrections:
    """One thread that computes corrections of newly taught lessons, a lesson at a time, once teaching has paused.

    Nothing waits for it: a question that comes first computes what it needs itself.

    Args:
        engine: whose lessons.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._memory = engine, engine.memory
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ids: list[str] = []
        self._lock = threading.Lock()

    def add(self, ids: list[str]) -> None:
        """These lessons were taught."""
        with self._lock:
            self._ids += ids
            self._wake.set()
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="everlearn-corrections", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop after the lesson at hand."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._wake.wait(_QUIET_S) and not self._stop.is_set():
                self._wake.clear()  # still being taught
            self._compute()

    def _compute(self) -> None:
        with self._lock:
            ids, self._ids = self._ids, []
        try:
            todo = self._memory.warm(ids)
        except EverlearnError as cause:
            _log.warning("corrections were not computed in the background: %s", cause)
            return
        for lesson, settings in todo:
            if not self._stop.is_set():
                self._engine.give_way()
            if self._stop.is_set():
                return
            try:
                self._memory.correction(lesson, settings)
            except EverlearnError as cause:
                # The same error meets the question that needs the value, and its asker; here it is only noted.
                _log.warning("the correction of lesson %s was not computed: %s", lesson.id, cause)

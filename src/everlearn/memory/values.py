"""Values of entries: corrections, computed at first use or in the background, kept, and rebuilt when missing."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import final

from everlearn.memory.correction import Correction, from_bytes, kind_of, to_bytes
from everlearn.memory.difference import difference
from everlearn.memory.learned import learned
from everlearn.models.base import BaseModel
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import DerivedStore
from everlearn.text.chat import ChatText

_log = logging.getLogger(__name__)


@final
class Corrections:
    """Corrections of one base model: in memory within a bound, else on disk, else computed.

    Args:
        model: the base model.
        text: its tokenizer.
        derived: where they are kept.
        most_bytes: bound of those held in memory.
    """

    def __init__(self, model: BaseModel, text: ChatText, derived: DerivedStore, most_bytes: int = 256 << 20) -> None:
        self.model = model
        self._text = text
        self._derived = derived
        self._most_bytes = most_bytes
        self._held: OrderedDict[tuple[str, str], Correction] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def tokens(self, answer: str) -> tuple[int, ...]:
        """Tokens [A] of an answer, the stop token last, as a value holds them."""
        return tuple(self._text.answer_ids(answer))

    def find(self, lesson: Lesson, settings: TableSettings) -> Correction | None:
        """The correction of a lesson under these settings, where it was computed before."""
        name = (kind_of(self.model, settings), lesson.id)
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name]
        found = self._kept(name)
        if found is not None:
            self._hold(name, found)
        return found

    def compute(self, lesson: Lesson, settings: TableSettings) -> Correction:
        """Compute a correction, by two forward passes or by gradient as the settings say; nothing is kept."""
        make = difference if settings.values == "difference" else learned
        return make(self.model, self._text, lesson.question, lesson.answer, settings)

    def keep(self, lesson: Lesson, settings: TableSettings, correction: Correction) -> None:
        """Keep a correction, in memory and on disk. The caller sees to it that the lesson is still there."""
        kind = kind_of(self.model, settings)
        self._derived.put(kind, {lesson.id: to_bytes(correction, settings)})
        self._hold((kind, lesson.id), correction)

    def missing(self, ids: Sequence[str], settings: TableSettings) -> list[str]:
        """Those of `ids` that have no kept correction under these settings."""
        kept = self._derived.get(kind_of(self.model, settings), ids)
        return [i for i in ids if i not in kept]

    def drop(self, ids: Iterable[str]) -> None:
        """Let go of what is held in memory for these lessons."""
        gone = set(ids)
        with self._lock:
            for name in [n for n in self._held if n[1] in gone]:
                self._bytes -= self._held.pop(name).nbytes

    def _kept(self, name: tuple[str, str]) -> Correction | None:
        kind, lesson_id = name
        packed = self._derived.get(kind, [lesson_id]).get(lesson_id)
        if packed is None:
            return None
        try:
            return from_bytes(packed, self.model.hidden_size)
        except ValueError as cause:
            _log.warning("the correction of lesson %s is made anew: %s", lesson_id, cause)
            return None

    def _hold(self, name: tuple[str, str], correction: Correction) -> None:
        with self._lock:
            if name in self._held:
                return
            self._held[name] = correction
            self._bytes += correction.nbytes
            while self._bytes > self._most_bytes and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes

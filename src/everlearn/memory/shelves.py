"""The passages of all tables, kept in step with the store: which of them may be read with a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.key import Key, KeyMaker
from everlearn.memory.passage_gate import PassageGate
from everlearn.memory.passages import Passages, packed, unpacked, window_vectors
from everlearn.memory.table import Candidate
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import DerivedStore

_FORM = 1  # raise it when windows are cut otherwise: kept vectors are then made anew
_WORTH_MENTIONING = 0.05


@final
class Shelves:
    """Passages by table.

    Args:
        derived: where window vectors are kept.
        keys: makes them.
        gate: judges passages.
    """

    def __init__(self, derived: DerivedStore, keys: KeyMaker, gate: PassageGate) -> None:
        self._derived = derived
        self._keys = keys
        self._gate = gate
        self._tables: dict[str, Passages] = {}
        self._home: dict[str, str] = {}  # lesson id -> table
        self._kind = f"passage/{_FORM}/{keys.digest[:16]}"

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._home

    @property
    def nbytes(self) -> int:
        """Bytes of all window vectors in memory."""
        return sum(shelf.nbytes for shelf in self._tables.values())

    def vectors(self, lessons: Sequence[Lesson]) -> list[NDArray[np.float32]]:
        """Vectors [W, K] of the windows of each passage."""
        return window_vectors(self._keys, lessons)

    def add(self, lessons: Sequence[Lesson], ready: Mapping[str, NDArray[np.float32]]) -> None:
        """Make passages visible; `ready` holds window vectors [W, K] of those for which they were computed before."""
        kept = self._derived.get(self._kind, [le.id for le in lessons if le.id not in ready])
        vectors = {**unpacked(kept, lessons, self._keys.width), **ready}
        fresh = [le for le in lessons if le.id not in vectors]
        vectors.update(zip((le.id for le in fresh), window_vectors(self._keys, fresh), strict=True))
        unsaved = [le.id for le in lessons if le.id in ready or le in fresh]
        self._derived.put(self._kind, {i: packed(vectors[i]) for i in unsaved})
        for lesson in lessons:
            shelf = self._tables.setdefault(lesson.table, Passages(self._keys, self._gate))
            shelf.add(lesson, vectors[lesson.id])
            self._home[lesson.id] = lesson.table

    def remove(self, ids: Sequence[str]) -> None:
        """Remove passages; ids of other lessons are passed over."""
        for lesson_id in ids:
            if lesson_id in self._home:
                self._tables[self._home.pop(lesson_id)].remove(lesson_id)

    def __len__(self) -> int:
        return len(self._home)

    def remove_table(self, name: str) -> None:
        """Remove all passages of a table."""
        if self._tables.pop(name, None) is not None:
            self._home = {lesson_id: home for lesson_id, home in self._home.items() if home != name}

    def holds_any(self, tables: Sequence[str]) -> bool:
        """Whether any of these tables has a passage."""
        return any(len(self._tables.get(name, ())) for name in tables)

    def candidates(self, query: Key, tables: Mapping[str, TableSettings]) -> list[Candidate]:
        """Passages of these tables that may answer a question, those left out that surely do not."""
        now = datetime.now(UTC)
        return [
            Candidate(lesson.id, name, cosine, probability, settings)
            for name, settings in tables.items()
            if name in self._tables
            for lesson, cosine, probability in self._tables[name].judged(query, now)
            if probability >= _WORTH_MENTIONING
        ]

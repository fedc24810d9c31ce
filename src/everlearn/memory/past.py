"""The past of a memory: what was superseded stays searchable for questions about an earlier time.

Ordinary questions pay nothing for it: superseded entries lie in tables of their own, which are filled at the first
question with a time and kept in step from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import final

from everlearn.memory.gate import Gate
from everlearn.memory.key import KeyMaker
from everlearn.memory.table import Holding, LookupTable
from everlearn.memory.vectors import KeyVectors
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson
from everlearn.store.port import LessonQuery, LessonStore
from everlearn.store.times import holds


@final
class Past:
    """Superseded entries of all look-up tables.

    Args:
        store: lessons.
        vectors: their key vectors.
        keys: makes keys of prompts.
        gate: judges candidates.
        words: states of the words of prompts.
    """

    def __init__(self, store: LessonStore, vectors: KeyVectors, keys: KeyMaker, gate: Gate, words: WordStates) -> None:
        self._store = store
        self._vectors = vectors
        self._keys = keys
        self._gate = gate
        self._words = words
        self._tables: dict[str, LookupTable] = {}
        self._home: dict[str, str] = {}
        self._filled = False

    def tables(self, asked: Sequence[LookupTable]) -> list[LookupTable]:
        """The superseded entries of the tables that are asked, with the same settings."""
        if not self._filled:
            self._add(self._store.lessons(LessonQuery(status="superseded", limit=sys.maxsize)))
            self._filled = True
        found = [(table, self._tables[table.name]) for table in asked if table.name in self._tables]
        for table, past in found:
            past.settings = table.settings
        return [past for _, past in found]

    def catch_up(self, touched: Sequence[str], now: Mapping[str, Lesson]) -> None:
        """Take over what changed.

        Args:
            touched: ids of lessons that something happened to.
            now: those of them that are there, as they are now.
        """
        if not self._filled:
            return
        superseded = {i: now[i] for i in touched if i in now and now[i].status == "superseded"}
        for lesson_id in touched:
            if lesson_id in self._home and lesson_id not in superseded:
                self._tables[self._home.pop(lesson_id)].remove(lesson_id)
        self._add([lesson for lesson in superseded.values() if lesson.id not in self._home])

    def holding(self, at: datetime) -> Holding:
        """Which lessons hold at a moment; asks the store."""

        def holding(ids: Sequence[str]) -> set[str]:
            found = self._store.lessons_by_id(ids)
            successors = self._store.lessons_by_id([le.superseded_by for le in found.values() if le.superseded_by])
            return {le.id for le in found.values() if holds(le, successors.get(le.superseded_by), at)}

        return holding

    def _add(self, lessons: Sequence[Lesson]) -> None:
        # The past is judged by its words, which sealed entries have not; passages are not replaced but forgotten.
        lessons = [lesson for lesson in lessons if lesson.kind not in ("sealed", "passage")]
        for name in dict.fromkeys(lesson.table for lesson in lessons):
            mine = [lesson for lesson in lessons if lesson.table == name]
            if name not in self._tables:
                settings = self._store.table(name)
                self._tables[name] = LookupTable(name, settings, self._keys, self._gate, self._words)
            self._tables[name].add([le.id for le in mine], [le.question for le in mine], self._vectors.of(mine))
            self._home.update((lesson.id, name) for lesson in mine)

"""The contexts that lessons hold in, as the words that say something; those of filed entries are read when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

from everlearn.memory.recall import content
from everlearn.records import Lesson
from everlearn.store.port import LessonStore


@final
class Contexts:
    """Content words of the contexts of context pairs.

    Args:
        store: where those of filed entries are read.
        rarity: of a folded word.
    """

    def __init__(self, store: LessonStore, rarity: Callable[[str], float]) -> None:
        self._store = store
        self._rarity = rarity
        self._words: dict[str, frozenset[str] | None] = {}  # None = not read yet

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._words

    def add(self, lessons: Iterable[Lesson]) -> None:
        """Take in those of these lessons that have a context."""
        self._words.update((le.id, content(le.context, self._rarity)) for le in lessons if le.context)

    def expect(self, ids: Iterable[str]) -> None:
        """These have a context, which is read when a question comes near them."""
        for lesson_id in ids:
            self._words.setdefault(lesson_id, None)

    def remove(self, lesson_id: str) -> None:
        """Let go of a lesson's context, where it has one."""
        self._words.pop(lesson_id, None)

    def of(self, lesson_id: str) -> frozenset[str]:
        """Content words of a lesson's context; none where it has no context."""
        if lesson_id not in self._words:
            return frozenset()
        words = self._words[lesson_id]
        if words is None:
            lesson = self._store.lessons_by_id([lesson_id]).get(lesson_id)
            words = frozenset() if lesson is None else content(lesson.context, self._rarity)
            self._words[lesson_id] = words
        return words

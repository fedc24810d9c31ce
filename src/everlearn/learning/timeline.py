"""The order in time of lessons that replace each other, as it will be once a batch is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import final

from everlearn.records import Lesson
from everlearn.store.port import LessonStore
from everlearn.store.times import outranks


@final
class Timeline:
    """Stored lessons with the changes of a batch laid over them.

    Attributes:
        new: lessons of the batch, complete, by id.
        relinked: stored lesson -> the new lesson that follows it now.

    Args:
        store: what is there.
    """

    def __init__(self, store: LessonStore) -> None:
        self._store = store
        self.new: dict[str, Lesson] = {}
        self.relinked: dict[str, str] = {}

    def lessons(self, ids: Sequence[str]) -> list[Lesson]:
        """Those of `ids` that are there, in their order, as they will be."""
        stored = self._store.lessons_by_id([i for i in ids if i not in self.new])
        return [self.new.get(i) or self._laid_over(stored[i]) for i in ids if i in self.new or i in stored]

    def before(self, lesson_id: str) -> list[Lesson]:
        """The lessons that this one follows, oldest first."""
        stored = [i for i, heir in self.relinked.items() if heir == lesson_id]
        found = {lesson.id: lesson for lesson in self.lessons(stored)}
        if lesson_id not in self.new:
            found |= {lesson.id: self._laid_over(lesson) for lesson in self._store.history(lesson_id)}
        found |= self.new
        return [lesson for lesson in found.values() if lesson.superseded_by == lesson_id]

    def next_after(self, lesson: Lesson, later: Lesson) -> Lesson:
        """The first lesson of a chain that stands after a new one.

        Args:
            lesson: the new one.
            later: stands after it; the chain is followed from there into the past.
        """
        while True:
            earlier = [each for each in self.before(later.id) if outranks(each, lesson)]
            if not earlier:
                return later
            later = min(earlier, key=lambda each: (each.valid_from or later.valid_from, each.id))

    def link(self, old: Lesson, heir: str) -> None:
        """Let a new lesson follow one that is there."""
        if old.id in self.new:
            self.new[old.id] = dataclasses.replace(self.new[old.id], status="superseded", superseded_by=heir)
        else:
            self.relinked[old.id] = heir

    def _laid_over(self, stored: Lesson) -> Lesson:
        heir = self.relinked.get(stored.id)
        return dataclasses.replace(stored, status="superseded", superseded_by=heir) if heir else stored

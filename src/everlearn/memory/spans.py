"""From when to when an ordinary question may see a lesson."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import final

from everlearn.records import Lesson
from everlearn.store.port import LessonStore
from everlearn.store.times import Span, ends_at


@final
class Spans:
    """Spans of lessons, as seen from now.

    Args:
        store: lessons, for their successors.
    """

    def __init__(self, store: LessonStore) -> None:
        self._store = store

    def of(self, lesson: Lesson) -> Span | None:
        """From when to when an ordinary question may see a lesson; None where nothing limits it from now on."""
        end = self._end(lesson)
        begun = lesson.valid_from is None or lesson.valid_from <= datetime.now(UTC)
        return None if begun and end is None else (lesson.valid_from, end)

    def still_speaks(self, lesson: Lesson) -> bool:
        """Whether a superseded lesson still holds: its successor is taught already, but true from a later time."""
        end = self._end(lesson)
        return end is None or end > datetime.now(UTC)

    def waiting(self, active: Sequence[Lesson]) -> list[Lesson]:
        """Superseded lessons that go on speaking until the time of their active successors has come."""
        now = datetime.now(UTC)
        later = [lesson for lesson in active if lesson.valid_from is not None and lesson.valid_from > now]
        chains = [self._store.history(lesson.id) for lesson in later]
        found = {le.id: le for chain in chains for le in chain if le.status == "superseded" and self.still_speaks(le)}
        return list(found.values())

    def _end(self, lesson: Lesson) -> datetime | None:
        heir = lesson.superseded_by
        return ends_at(lesson, self._store.lessons_by_id([heir]).get(heir) if heir else None)

"""Undo: what a lesson replaced speaks again, and nothing is lost of the history. No model is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from everlearn.errors import ConflictError, StoreBusyError
from everlearn.records import Lesson, Taught
from everlearn.store.ids import new_id
from everlearn.store.port import LessonStore, StaleError

_ATTEMPTS = 20


def undo(store: LessonStore, lesson_id: str) -> list[Taught]:
    """Take back what a lesson changed: teach again, as new lessons, those that it replaced.

    The undone lesson stays in the history, as a revision between the old answer and its return. Where it had a
    `valid_from`, what returns takes that over, so that the undone answer holds at no time any more; where it had none,
    it goes on answering questions as of the time between its teaching and its undoing. Undoing the returned lesson
    brings the undone one back.

    Args:
        store: lessons.
        lesson_id: of an active lesson that replaced others.

    Returns:
        The lessons that speak again, each with what it replaced.

    Raises:
        LessonNotFoundError: no lesson has this id.
        ConflictError: it is not active, or it replaced nothing; nothing was changed.
        StoreBusyError: other processes kept changing the store.
    """
    for _ in range(_ATTEMPTS):
        seq = store.seq()
        lesson = store.lesson(lesson_id)
        back = _returning(lesson, _replaced_by(store, lesson))
        try:
            store.teach(back, {lesson.id: back[-1].id}, expected_seq=seq)
        except StaleError:
            continue
        return [Taught(each, (lesson.id,)) for each in back]
    raise StoreBusyError(f"Other processes changed the store {_ATTEMPTS} times.", hint="Nothing was undone; try again.")


def _replaced_by(store: LessonStore, lesson: Lesson) -> list[Lesson]:
    if lesson.status != "active":
        raise ConflictError(
            f"Lesson {lesson.id} is superseded by {lesson.superseded_by} already, so it cannot be undone.",
            hint="Undo that one, or forget this one.",
        )
    replaced = [each for each in store.history(lesson.id) if each.superseded_by == lesson.id]
    if not replaced:
        raise ConflictError(
            f"Lesson {lesson.id} replaced nothing, so there is nothing to return to.", hint="Forget it instead."
        )
    return replaced


def _returning(undone: Lesson, replaced: Sequence[Lesson]) -> list[Lesson]:
    """Copies of the replaced lessons, one for each question and answer."""
    now = datetime.now(UTC)
    distinct = {(lesson.prompt, lesson.answer): lesson for lesson in replaced}
    return [
        dataclasses.replace(
            lesson,
            id=new_id(),
            taught_at=now,
            valid_from=undone.valid_from,
            status="active",
            superseded_by="",
            source=f"undo of {undone.id}",
        )
        for lesson in distinct.values()
    ]

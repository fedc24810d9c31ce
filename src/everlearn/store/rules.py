"""What every implementation of the store holds to, so that they cannot drift apart: checks, matching, messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from everlearn.errors import LessonError, LessonNotFoundError, NotFoundError, TableNotFoundError
from everlearn.records import Lesson, Turn

SHORTEST_PREFIX = 4


def check_lessons(lessons: Sequence[Lesson], superseded: Mapping[str, str]) -> None:
    """Refuse lessons that cannot be stored.

    Args:
        lessons: the new ones.
        superseded: id of a stored lesson -> id of the new lesson that replaces it.

    Raises:
        LessonError: a text holds half a character (a lone surrogate), which no file can keep.
    """
    ids = {lesson.id for lesson in lessons}
    assert len(ids) == len(lessons), "two lessons of a batch have the same id"
    assert ids.issuperset(superseded.values()), "a stored lesson is superseded by one that is not in the batch"
    assert ids.isdisjoint(superseded), "a lesson of the batch is named as a stored one"
    for lesson in lessons:
        _check_complete(lesson)
        _check_unicode(lesson)


def _check_complete(lesson: Lesson) -> None:
    assert lesson.id, "a lesson without an id"
    assert lesson.taught_at is not None, "a lesson without a time"
    assert lesson.status != "new", "a lesson that nobody decided on"
    assert (lesson.status == "superseded") == bool(lesson.superseded_by), "status and superseded_by contradict"
    for moment in (lesson.taught_at, lesson.valid_from, lesson.valid_to):
        assert moment is None or moment.tzinfo is not None, "a time without a zone"


def _check_unicode(lesson: Lesson) -> None:
    for name in ("prompt", "answer", "table", "domain", "source", "author", "tenant"):
        try:
            getattr(lesson, name).encode()
        except UnicodeEncodeError as error:
            raise LessonError(
                f"The {name} of a lesson holds half a character at position {error.start}, which cannot be stored.",
                hint="Read the text with the encoding it was written in, usually UTF-8.",
            ) from error


def contains_folded(text: str, folded: str) -> bool:
    """Whether `text` contains `folded` (case-folded already), ignoring case in every script."""
    return folded in text.casefold()


def spoken_by(turn: Turn) -> list[str]:
    """Ids of the lessons that an answer rests on."""
    return list(dict.fromkeys(r.lesson_id for r in turn.receipt.recalled if r.decision == "spoke"))


def lesson_not_found(lesson_id: str) -> LessonNotFoundError:
    """The error for an id that no lesson has."""
    return LessonNotFoundError(f"No lesson has the id {lesson_id!r}.", hint="List the lessons to see their ids.")


def turn_not_found(turn_id: str) -> NotFoundError:
    """The error for an id that no kept turn has."""
    return NotFoundError(
        f"No kept turn has the id {turn_id!r}.", hint="Turns that rest on a forgotten lesson are removed with it."
    )


def table_not_found(name: str, known: Iterable[str]) -> TableNotFoundError:
    """The error for a table that is not there; the hint names the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
    return TableNotFoundError(f"There is no look-up table {name!r}.", hint=hint)


def the_one(prefix: str, found: Sequence[str]) -> str:
    """The lesson id meant by a prefix.

    Args:
        prefix: what was typed.
        found: ids that start with it; two are enough to know that there are several.

    Raises:
        LessonNotFoundError: the prefix is too short, or none or several ids start with it.
    """
    if prefix in found:
        return prefix
    if len(prefix) < SHORTEST_PREFIX:
        hint = f"Give at least {SHORTEST_PREFIX} characters of the id."
        raise LessonNotFoundError(f"The id {prefix!r} is too short to find a lesson by.", hint=hint)
    if len(found) > 1:
        raise LessonNotFoundError(
            f"Several lessons have an id that starts with {prefix!r}.", hint="Give more characters of the id."
        )
    if not found:
        raise lesson_not_found(prefix)
    return found[0]

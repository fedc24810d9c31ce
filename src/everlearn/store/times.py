"""When a lesson holds: from when it is true until it ends or another one takes its place.

    holds   from `valid_from`, or from when it was taught where that is not known,
            until `valid_to` or the start of the lesson that superseded it, whichever comes first (exclusive)

An ordinary question is asked at this moment, an `as_of` question at another one; both see the lessons that hold then.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from everlearn.records import Lesson

Span = tuple[datetime | None, datetime | None]  # true from, true until; None = without end

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970 in UTC."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def moment(count: int | None) -> datetime | None:
    """The time that many microseconds after 1970, in UTC."""
    return None if count is None else _EPOCH + count * _MICROSECOND


def starts_at(lesson: Lesson) -> datetime:
    """From when on a taught lesson holds: `valid_from`, or where it has none when it was taught."""
    start = lesson.valid_from or lesson.taught_at
    assert start is not None, "a lesson that was never taught holds at no time"
    return start


def ends_at(lesson: Lesson, successor: Lesson | None) -> datetime | None:
    """Until when a taught lesson holds (exclusive); None = without end.

    Args:
        lesson: the lesson.
        successor: the lesson that superseded it, if one did.
    """
    ends = [] if lesson.valid_to is None else [lesson.valid_to]
    if successor is not None:
        ends.append(starts_at(successor))
    return min(ends, default=None)


def holds(lesson: Lesson, successor: Lesson | None, at: datetime) -> bool:
    """Whether a taught lesson holds at a moment; `successor` is the lesson that superseded it, if one did."""
    end = ends_at(lesson, successor)
    return starts_at(lesson) <= at and (end is None or at < end)


def outranks(older: Lesson, newer: Lesson) -> bool:
    """Whether a lesson stands before one that is taught after it: the newest `valid_from` wins, else the newest taught.

    A lesson without a `valid_from` is true from when it is taught, which is how the two are compared then. An older one
    without gives way to any newer one: "it is Bob since 2018" corrects what was said without a date.
    """
    return older.valid_from is not None and older.valid_from > starts_at(newer)


def overlap(one: Lesson, other: Lesson) -> bool:
    """Whether the stated spans of two lessons have a moment in common; a limit that is not stated is none."""
    return _begins_before_end(one, other) and _begins_before_end(other, one)


def _begins_before_end(one: Lesson, other: Lesson) -> bool:
    return one.valid_from is None or other.valid_to is None or one.valid_from < other.valid_to

"""Ids as a person types them: the shortest beginning that names one lesson only."""

from __future__ import annotations

from collections.abc import Iterable

from everlearn.errors import LessonNotFoundError
from everlearn.store.port import LessonStore

LENGTHS = (8, 12, 16, 20)


def short_ids(store: LessonStore, ids: Iterable[str]) -> dict[str, str]:
    """A beginning for each id, all equally long, each of which the store finds its lesson by."""
    wanted = list(dict.fromkeys(ids))
    for length in LENGTHS:
        if all(_names_one(store, each, length) for each in wanted):
            return {each: each[:length] for each in wanted}
    return {each: each for each in wanted}


def _names_one(store: LessonStore, lesson_id: str, length: int) -> bool:
    try:
        return store.resolve(lesson_id[:length]) == lesson_id
    except LessonNotFoundError:
        return False

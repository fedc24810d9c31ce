"""What a new version still answers of what each version before it was taught: a row of the matrix of scores R."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from everlearn.errors import AdapterNotFoundError
from everlearn.records import Lesson
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.shelf import AdapterShelf

NEW = "new"


def retention(
    shelf: AdapterShelf, parent: Adapter | None, lessons: Sequence[Lesson], answered: Collection[str]
) -> dict[str, float]:
    """Shares of lessons that are answered exactly, by the version that learned them first.

    Args:
        shelf: with the versions before.
        parent: the version that the candidate was trained from; None where it began anew.
        lessons: that the candidate was asked.
        answered: ids of those that it answers as they were taught.

    Returns:
        version -> share 0..1, oldest first; what no version before knew stands under "new". What a version knew that
        is no longer on the shelf counts for the oldest one that is.
    """
    first: dict[str, str] = {}
    for version in _lineage(shelf, parent):  # newest first, so that the oldest has the last word
        first |= dict.fromkeys(version.lessons, version.id)
    groups: dict[str, list[bool]] = {version: [] for version in reversed(list(dict.fromkeys(first.values())))}
    for lesson in lessons:
        groups.setdefault(first.get(lesson.id, NEW), []).append(lesson.id in answered)
    return {name: sum(hits) / len(hits) for name, hits in groups.items() if hits}


def _lineage(shelf: AdapterShelf, version: Adapter | None) -> Iterator[Adapter]:
    while version is not None:
        yield version
        if not version.parent:
            return
        try:
            version = shelf.find(version.parent)
        except AdapterNotFoundError:
            return

"""The cache of what can be computed again, without files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import final


@final
class InMemoryDerivedStore:
    """A `DerivedStore` in a dictionary."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], bytes] = {}

    rows = None  # no files

    def close(self) -> None:
        """Nothing to release."""

    def get(self, kind: str, ids: Sequence[str]) -> dict[str, bytes]:
        """Those of `ids` that are there, by id."""
        return {wanted: self._values[kind, wanted] for wanted in ids if (kind, wanted) in self._values}

    def put(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep values; replaces what was there."""
        self._values.update({(kind, lesson_id): bytes(value) for lesson_id, value in values.items()})

    def delete(self, ids: Iterable[str]) -> int:
        """Remove everything of these lessons, of every kind; returns the number of rows."""
        unwanted = set(ids)
        keys = [key for key in self._values if key[1] in unwanted]
        for key in keys:
            del self._values[key]
        return len(keys)

    def ids(self) -> set[str]:
        """Lessons of which anything is kept."""
        return {lesson_id for _, lesson_id in self._values}

    def stored_bytes(self) -> int:
        """Nothing is on disk."""
        return 0

"""Keys and values of entries as bytes, to carry them from one table or home to another unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from everlearn.memory.correction import kind_of
from everlearn.memory.memory import Memory
from everlearn.records import Lesson, TableSettings

Progress = Callable[[int, int], None]


def packed_values(
    memory: Memory,
    lessons: Sequence[Lesson],
    settings: TableSettings,
    progress: Progress | None = None,
    *,
    compute: bool = True,
) -> dict[str, bytes]:
    """Packed values of lessons by id; those missing are computed first, or left out."""
    ids = [le.id for le in lessons]
    missing = set(memory.corrections.missing(ids, settings)) if compute else set[str]()
    todo = [le for le in lessons if le.id in missing]
    for done, lesson in enumerate(todo, 1):
        memory.correction(lesson, settings)
        if progress is not None:
            progress(done, len(todo))
    return memory.derived.get(kind_of(memory.corrections.model, settings), ids)


def keep_values(memory: Memory, values: Mapping[str, bytes], settings: TableSettings) -> None:
    """Keep packed values under the ids of lessons that are there."""
    memory.derived.put(kind_of(memory.corrections.model, settings), values)

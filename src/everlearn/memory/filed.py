"""Entries of a large table: found in files, their words and exact vectors read from the stores for the few that are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from everlearn.memory.saved import NO_TIME, SavedEntries, words_digest
from everlearn.memory.vectors import KeyVectors
from everlearn.records import Lesson
from everlearn.store.port import LessonStore
from everlearn.store.times import Span, moment
from everlearn.text.clean import same_words

_SPARE = 8  # of half precision: so many more are scored by their exact vectors
_EXACT_UP_TO = 64  # of longer lists only the nearest are wanted exactly, and these were asked for before


@final
class FiledEntries:
    """The saved entries of one table, with what the stores know of them.

    Attributes:
        saved: the files.

    Args:
        saved: the files.
        store: lessons.
        vectors: their exact key vectors.
    """

    def __init__(self, saved: SavedEntries, store: LessonStore, vectors: KeyVectors) -> None:
        self.saved = saved
        self._near: dict[str, NDArray[np.float32]] = {}  # of the newest search: the gate asks for them again
        self._store = store
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self.saved)

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self.saved

    def near(self, vector: NDArray[np.float32], most: int) -> list[tuple[str, float]]:
        """About the `most` nearest entries of a vector [K], nearest first, with their cosines; ties by the older id."""
        if most > _EXACT_UP_TO:
            return self.saved.search(vector, most)
        looked = [lesson_id for lesson_id, _ in self.saved.search(vector, most + _SPARE)]
        known = self._near = self.vectors(looked)
        if not known:
            return []
        rows = torch.from_numpy(np.stack(list(known.values())))
        scores = torch.mv(rows, torch.from_numpy(np.array(vector, np.float32))).tolist()
        return sorted(zip(known, scores, strict=True), key=lambda pair: (-pair[1], pair[0]))[:most]

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Exact vectors [K] by id; of those that another process has just forgotten there are none."""
        found = {i: self._near[i] for i in ids if i in self._near}
        found.update(self._vectors.kept([i for i in ids if i not in found]))
        lost = [i for i in ids if i not in found]
        if lost and (lessons := list(self._store.lessons_by_id(lost).values())):
            made = self._vectors.of(lessons)
            found.update((lesson.id, row) for lesson, row in zip(lessons, made, strict=True))
        return {i: found[i] for i in ids if i in found}

    def remove(self, lesson_id: str) -> None:
        """Let an entry be found no more."""
        self.saved.remove(lesson_id)
        self._near.pop(lesson_id, None)

    def lessons(self, ids: Sequence[str]) -> dict[str, Lesson]:
        """Lessons by id; of those that another process has just forgotten there are none."""
        return self._store.lessons_by_id(ids)

    def asking(self, words: str) -> list[str]:
        """Ids of entries whose question has these folded words, oldest first."""
        ids = self.saved.with_words(words_digest(words))
        lessons = self._store.lessons_by_id(ids) if ids else {}
        return [i for i in ids if i in lessons and same_words(lessons[i].question) == words]

    def spans(self) -> dict[str, Span]:
        """From when and until when entries are true, for those that are not always."""
        return {lesson_id: (_time(begin), _time(end)) for lesson_id, (begin, end) in self.saved.spans().items()}


def _time(count: int) -> datetime | None:
    return None if count == NO_TIME else moment(count)

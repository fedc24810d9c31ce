"""All lessons as points on a plane, kept up to date: what is taught later is put where it belongs on that plane."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.memory import Memory
from everlearn.records import Lesson
from everlearn.server.projection import Plane, plane_of
from everlearn.store.port import LessonQuery

MOST = 200_000
SIDE = 65_535
GROUPINGS = ("domain", "table", "source", "author")
_BLOCK = 10_000
_MOST_KEPT = 4
_GROWN = 1.25  # a table that grew by more is drawn anew: its lessons may lie otherwise than those the plane was laid by


@final
@dataclass(frozen=True, slots=True)
class Dot:
    """A lesson on the map: where (0..SIDE), and of which domain, table, source, author."""

    x: int
    y: int
    groups: tuple[str, ...]


@final
class LessonMap:
    """The active lessons of a table, or of all tables, as points. Not for several threads at once.

    Args:
        memory: of the lessons.
        table: empty = all.
    """

    def __init__(self, memory: Memory, table: str) -> None:
        self._memory, self._table = memory, table
        self._plane: Plane | None = None
        self._laid, self._seq = 0, -1
        self.dots: dict[str, Dot] = {}
        self.total = 0

    def refresh(self) -> None:
        """Take over what changed since the last time.

        After a lesson was forgotten all is drawn anew: the plane itself was laid by it.
        """
        store = self._memory.store
        seq = store.seq()
        if seq == self._seq:
            return
        self.total = store.count(LessonQuery(table=self._table or None, status="active"))
        touched = [] if self._plane is None else [c.lesson_id for c in store.changes(self._seq) if c.lesson_id]
        there = store.lessons_by_id(touched)
        if self._plane is None or set(touched) - set(there) or self.total > max(self._laid * _GROWN, 100):
            self._draw()
        else:
            self._put(touched, there.values())
        self._seq = seq

    def _draw(self) -> None:
        offset = max(0, self.total - MOST)
        query = LessonQuery(table=self._table or None, status="active", limit=MOST, offset=offset)
        lessons = [lesson for lesson in self._memory.store.lessons(query) if lesson.prompt.strip()]
        self.dots, self._laid, self._plane = {}, len(lessons), None
        if lessons:
            vectors = self._vectors(lessons)
            self._plane = plane_of(vectors)
            self._add(lessons, vectors)

    def _put(self, touched: Sequence[str], there: Collection[Lesson]) -> None:
        for lesson_id in touched:
            self.dots.pop(lesson_id, None)
        mine = [le for le in there if le.status == "active" and le.prompt.strip() and self._table in ("", le.table)]
        if mine:
            self._add(mine, self._vectors(mine))

    def _add(self, lessons: Sequence[Lesson], vectors: NDArray[np.float32]) -> None:
        assert self._plane is not None, "a plane is laid before points are put on it"
        where = np.rint(self._plane.points(vectors) * SIDE).astype(np.int64).tolist()
        for lesson, (x, y) in zip(lessons, where, strict=True):
            self.dots[lesson.id] = Dot(x, y, tuple(str(getattr(lesson, name)) or "none" for name in GROUPINGS))

    def _vectors(self, lessons: Sequence[Lesson]) -> NDArray[np.float32]:
        """Key vectors [M, K], a block at a time and in half precision: for a picture it is more than enough."""
        blocks = [lessons[n : n + _BLOCK] for n in range(0, len(lessons), _BLOCK)]
        halves = [self._memory.vectors_of(block).astype(np.float16) for block in blocks]
        return np.concatenate(halves).astype(np.float32)


@final
class LessonMaps:
    """Maps that were asked for lately. One thread draws at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], LessonMap] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tenant: str, memory: Memory, table: str) -> tuple[dict[str, Dot], int]:
        """The map of a table of a tenant as it is now, and how many lessons there are.

        Args:
            tenant: whose.
            memory: of that tenant.
            table: empty = all.
        """
        with self._lock:
            key = (tenant, table)
            if key not in self._kept:
                self._kept[key] = LessonMap(memory, table)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            found = self._kept[key]
            found.refresh()
            return dict(found.dots), found.total

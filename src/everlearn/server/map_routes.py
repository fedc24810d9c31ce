"""/v1/map: all lessons as points on a plane, near where their questions mean the like."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any, Literal, final

import numpy as np
from fastapi import APIRouter, Depends, Query
from numpy.typing import NDArray

from everlearn.records import Lesson
from everlearn.server.caller import Caller, may
from everlearn.server.projection import plane
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.port import LessonQuery

router = APIRouter(prefix="/v1/map", tags=["lessons"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
By = Literal["domain", "table", "source", "author"]
MOST = 200_000
SIDE = 65_535
MOST_GROUPS = 64
OTHERS = "others"
_BLOCK = 10_000
_MOST_KEPT = 4


@final
@dataclass(frozen=True, slots=True)
class _Map:
    """The points of one moment: ids and groups of M lessons, and where they lie, [M, 2] of 0..SIDE."""

    ids: list[str]
    groups: dict[str, list[str]]
    where: NDArray[np.int64]
    total: int


@final
class _Maps:
    """Maps that were drawn lately; each holds while nothing is taught or forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, int], _Map] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tenant: Tenant, table: str) -> _Map:
        """The map of a table, or of all tables. One thread draws at a time."""
        key = (str(tenant.folder), table, tenant.engine.memory.store.seq())
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _drawn(tenant, table)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def forget(self, folder: str, seq: int) -> None:
        """Drop what a tenant's earlier states looked like: ids of lessons that are gone are in it."""
        with self._lock:
            for key in [k for k in self._kept if k[0] == folder and k[2] != seq]:
                del self._kept[key]


_MAPS = _Maps()


@router.get("")
def map_(
    tenant: OfTenant,
    _caller: Asks,
    table: str = "",
    by: By = "domain",
    most: Annotated[int, Query(ge=1, le=MOST)] = MOST,
) -> dict[str, Any]:
    """Active lessons as points: `ids[n]` lies at (`x[n]`, `y[n]`), each 0..65535, and is of `groups[group[n]]`.

    The two directions are those in which the questions' embeddings differ most. Groups come with the most lessons
    first; behind the 63rd all are "others". Of more than `most` lessons the newest are
    told; `total` is how many there are.
    """
    if table:
        tenant.engine.memory.table(table)
    _MAPS.forget(str(tenant.folder), tenant.engine.memory.store.seq())
    drawn = _MAPS.of(tenant, table)
    names = drawn.groups[by][-most:]
    groups = [name for name, _ in Counter(names).most_common()]
    if len(groups) > MOST_GROUPS:
        groups = [*groups[: MOST_GROUPS - 1], OTHERS]
    place = {name: n for n, name in enumerate(groups)}
    return {
        "object": "map",
        "total": drawn.total,
        "groups": groups,
        "ids": drawn.ids[-most:],
        "x": drawn.where[-most:, 0].tolist(),
        "y": drawn.where[-most:, 1].tolist(),
        "group": [place.get(name, len(groups) - 1) for name in names],
    }


def _drawn(tenant: Tenant, table: str) -> _Map:
    memory = tenant.engine.memory
    total = memory.store.count(LessonQuery(table=table or None, status="active"))
    query = LessonQuery(table=table or None, status="active", limit=MOST, offset=max(0, total - MOST))
    lessons = [lesson for lesson in memory.store.lessons(query) if lesson.prompt.strip()]
    groups = {name: [str(getattr(lesson, name)) or "none" for lesson in lessons] for name in By.__args__}  # type: ignore[attr-defined]
    if not lessons:
        return _Map([], groups, np.zeros((0, 2), np.int64), total)
    where = np.rint(plane(_vectors(tenant, lessons)) * SIDE).astype(np.int64)
    return _Map([lesson.id for lesson in lessons], groups, where, total)


def _vectors(tenant: Tenant, lessons: list[Lesson]) -> NDArray[np.float32]:
    """Key vectors [M, K] in half precision, a block at a time: for a picture it is more than enough."""
    blocks = [lessons[n : n + _BLOCK] for n in range(0, len(lessons), _BLOCK)]
    halves = [tenant.engine.memory.vectors_of(block).astype(np.float16) for block in blocks]
    return np.concatenate(halves).astype(np.float32)

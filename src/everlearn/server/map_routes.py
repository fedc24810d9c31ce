"""/v1/map: all lessons as points on a plane, near where their questions mean the like."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from everlearn.server.caller import Caller, may
from everlearn.server.lesson_map import GROUPINGS, MOST
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1/map", tags=["lessons"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
By = Literal["domain", "table", "source", "author"]
MOST_GROUPS = 64
OTHERS = "others"


@router.get("")
def map_(
    room: InRoom,
    tenant: OfTenant,
    _caller: Asks,
    table: str = "",
    by: By = "domain",
    most: Annotated[int, Query(ge=1, le=MOST)] = MOST,
) -> dict[str, Any]:
    """Active lessons as points: `ids[n]` lies at (`x[n]`, `y[n]`), each 0..65535, and is of `groups[group[n]]`.

    The two directions are those in which the questions' embeddings differ most. Groups come with the most lessons
    first; behind the 63rd all are "others". Of more than `most` lessons the newest are told; `total` is how many there
    are. The first map of a large table takes seconds; afterwards only what changed is looked at.
    """
    if table:
        tenant.engine.memory.table(table)
    dots, total = room.maps.of(tenant.name, tenant.engine.memory, table)
    rows = list(dots.items())[-most:]
    place_of_name = GROUPINGS.index(by)
    names = [dot.groups[place_of_name] for _, dot in rows]
    groups = [name for name, _ in Counter(names).most_common()]
    if len(groups) > MOST_GROUPS:
        groups = [*groups[: MOST_GROUPS - 1], OTHERS]
    place = {name: n for n, name in enumerate(groups)}
    return {
        "object": "map",
        "total": total,
        "groups": groups,
        "ids": [lesson_id for lesson_id, _ in rows],
        "x": [dot.x for _, dot in rows],
        "y": [dot.y for _, dot in rows],
        "group": [place.get(name, len(groups) - 1) for name in names],
    }

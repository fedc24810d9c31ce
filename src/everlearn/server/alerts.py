"""/v1/alerts: what somebody should look at: a sleep that would forget, lessons that look like poison, a full disk."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from everlearn.evaluation.acceptance import AcceptanceLimits
from everlearn.learning.sleep_files import VERDICTS
from everlearn.records import Lesson
from everlearn.server.caller import Caller, may
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.port import LessonQuery

router = APIRouter(prefix="/v1/alerts", tags=["health"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
MANY = 3  # lessons held back of one source or author: no accident any more
MOST_HELD = 1000
LEAST_FREE = 1_000_000_000
_RANK = {"high": 0, "warning": 1}


@router.get("")
def list_(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """What should be looked at, the gravest first; empty where all is well.

    `kind` is "forgetting" (the last sleep of an adapter was refused since it would have cost older knowledge, or the
    version in use has lost more than is allowed), "sleep" (refused for another reason), "poisoning" (lessons are held
    back; many of one source or author), or "storage" (the disk is nearly full).
    """
    found = [*forgetting(verdicts_of(tenant)), *poisoning(_held(tenant)), *storage(tenant.folder)]
    return {"object": "list", "data": sorted(found, key=lambda alert: _RANK[alert["level"]])}


def verdicts_of(tenant: Tenant) -> list[dict[str, Any]]:
    """All verdicts of a tenant's sleeps and trainings, oldest first."""
    specialists = tenant.engine.specialists
    assert specialists is not None, "the server opens engines with a folder of adapters"
    path = specialists.shelf.folder / VERDICTS
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def forgetting(
    verdicts: Sequence[Mapping[str, Any]], limits: AcceptanceLimits | None = None
) -> Iterator[dict[str, Any]]:
    """Alerts about the last verdict of each adapter.

    Args:
        verdicts: oldest first.
        limits: what a candidate has to reach; None = the default ones.
    """
    limits = limits or AcceptanceLimits()
    last = {str(verdict["adapter"]).partition("@")[0]: verdict for verdict in verdicts}
    for name, verdict in last.items():
        lost = [
            f"{share:.0%} of what {version} learned"
            for version, share in verdict.get("retention", {}).items()
            if "@" in version and version != verdict["adapter"] and share < 1 - limits.lost
        ]
        still = f"; it still answered {', '.join(lost)}" if lost else ""
        if not verdict["accepted"]:
            kind = "forgetting" if lost or _cost_something(verdict["figures"], limits) else "sleep"
            said = f"The last sleep of {name} was refused: {'; '.join(verdict['reasons'])}{still}."
            yield _alert(
                "warning", kind, name, said, "Nothing was changed. Try a lower rate, or more unrelated prompts."
            )
        elif lost:
            said = f"{verdict['adapter']} answers {', '.join(lost)}; {1 - limits.lost:.0%} is wanted."
            yield _alert("high", "forgetting", name, said, "Roll back to the version before, or sleep anew.")


def poisoning(held: Sequence[Lesson]) -> Iterator[dict[str, Any]]:
    """Alerts about lessons that are held back."""
    if not held:
        return
    for what in ("source", "author"):
        for name, count in Counter(getattr(lesson, what) for lesson in held).most_common():
            if name and count >= MANY:
                said = f"{count} lessons of the {what} {name!r} are held back: they look like poison."
                yield _alert(
                    "high", "poisoning", name, said, "Look at them in quarantine; take its key away if need be."
                )
    said = f"{len(held)} lesson{'s are' if len(held) > 1 else ' is'} held back until somebody has looked."
    yield _alert("warning", "poisoning", "", said, "Release or forget: GET /v1/lessons/quarantine.")


def storage(folder: Path, least: int = LEAST_FREE) -> Iterator[dict[str, Any]]:
    """An alert where the disk of the state is nearly full: then nothing more can be taught."""
    free = shutil.disk_usage(folder).free
    if free < least:
        said = f"{free / 1e6:,.0f} MB are free where the state lies."
        yield _alert("high", "storage", str(folder.name), said, "Free some room, or move the state folder.")


def _cost_something(figures: Mapping[str, float], limits: AcceptanceLimits) -> bool:
    over = figures.get("lost", 0.0) > limits.lost or figures.get("drift", 0.0) > limits.drift
    return over or figures.get("locality", 1.0) < limits.locality or figures.get("p_lost", 1.0) < limits.significance


def _held(tenant: Tenant) -> list[Lesson]:
    return tenant.engine.memory.store.lessons(LessonQuery(status="quarantined", limit=MOST_HELD))


def _alert(level: str, kind: str, about: str, message: str, hint: str) -> dict[str, Any]:
    return {"object": "alert", "level": level, "kind": kind, "about": about, "message": message, "hint": hint}

"""/v1/lessons: teach, find, change, forget."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, ConfigDict

from everlearn.corpus.lesson_fields import lesson_of, row_of
from everlearn.engine.prompt import moment
from everlearn.errors import ConflictError, InputError
from everlearn.learning.reflection import Pair, reflect
from everlearn.records import ForgetRequest, Lesson, LessonKind, LessonStatus
from everlearn.server.caller import Caller, may
from everlearn.server.idempotency import Idempotency, idempotency_of
from everlearn.server.jobs import Progress
from everlearn.server.lesson_shapes import LessonChange, NewLesson, forgotten_told, lesson_told, taught_of
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.port import LessonQuery

router = APIRouter(prefix="/v1/lessons", tags=["lessons"])
MOST_PAGE = 1000
KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"description": "It was known already.", "content": {"application/json": {}}}
}
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Teaches = Annotated[Caller, Depends(may("teach"))]


class Forget(BaseModel):
    """Body of POST /v1/lessons/forget: which lessons; all that is set must hold."""

    model_config = ConfigDict(extra="forbid")
    ids: list[str] = []
    text: str = ""
    table: str = ""
    domain: str = ""
    source: str = ""
    author: str = ""
    taught_after: datetime | None = None
    taught_before: datetime | None = None
    dry_run: bool = False

    def request(self) -> ForgetRequest:
        """As the learner takes it.

        Raises:
            InputError: a time has no zone.
        """
        for name in ("taught_after", "taught_before"):
            if (at := getattr(self, name)) is not None and at.tzinfo is None:
                raise InputError(
                    f"{name} is {at.isoformat()}, without a zone.", hint="Write it as 2026-05-31T12:00:00Z."
                )
        return ForgetRequest(tuple(self.ids), **self.model_dump(exclude={"ids", "dry_run"}))


@router.post("", status_code=201, responses=KNOWN)
def teach(
    body: NewLesson,
    response: Response,
    room: InRoom,
    tenant: OfTenant,
    caller: Teaches,
    once: Annotated[Idempotency, Depends(idempotency_of)],
) -> dict[str, Any]:
    """Teach a lesson. It is durable, and known to the next question of this tenant, when this returns.

    201 for a new one, 200 for one that was known already. With an `Idempotency-Key` the same request is done once.
    """

    def learn() -> tuple[int, dict[str, Any]]:
        room.limits.take_lessons(caller, 1)
        with room.metrics.teaching(1):
            outcome = tenant.learner.teach(body.lesson(caller.key_id), on_conflict=body.on_conflict)
        room.metrics.judged([outcome])
        return 200 if outcome.known else 201, taught_of(outcome)

    response.status_code, told = once.run(body.model_dump(mode="json"), learn)
    return told


@router.get("")
def list_(
    tenant: OfTenant,
    _caller: Asks,
    q: Annotated[str | None, Query(max_length=1000, description="words in prompt, answer or context")] = None,
    table: str | None = None,
    domain: str | None = None,
    source: str | None = None,
    status: LessonStatus | None = None,
    kind: LessonKind | None = None,
    as_of: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_PAGE)] = 100,
    offset: Annotated[int, Query(ge=0, lt=2**53)] = 0,
) -> dict[str, Any]:
    """Lessons, oldest first, a page at a time."""
    query = LessonQuery(table, status, q, domain, limit, offset, source, kind, moment(as_of))
    store = tenant.engine.memory.store
    if table is not None:
        store.table(table)
    found, total = store.lessons(query), store.count(query)
    return {
        "object": "list",
        "data": [lesson_told(lesson) for lesson in found],
        "total": total,
        "has_more": offset + len(found) < total,
    }


@router.get("/conflicts")
def conflicts(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Answers to one question that were kept beside each other, newest first in each pair."""
    store = tenant.engine.memory.store
    pairs = store.conflicts()
    known = store.lessons_by_id(list({i for pair in pairs for i in pair}))
    data = [[lesson_told(known[i]) for i in pair] for pair in pairs if all(i in known for i in pair)]
    return {"object": "list", "data": data}


@router.post("/reflect", status_code=202)
def reflect_(room: InRoom, tenant: OfTenant, _caller: Asks, table: str | None = None) -> dict[str, Any]:
    """Look for contradictions, duplicates, lessons whose time is over, and what follows; a job that changes nothing."""
    if table is not None:
        tenant.engine.memory.table(table)

    def work(progress: Progress) -> dict[str, Any]:
        found = reflect(
            tenant.engine.memory, table=table, progress=lambda done, total: progress("reflecting", done, total)
        )
        return {
            "looked_at": found.looked_at,
            "contradictions": [_pair_told(pair) for pair in found.contradictions],
            "duplicates": [_pair_told(pair) for pair in found.duplicates],
            "stale": [lesson_told(lesson) for lesson in found.stale],
            "implied": [asdict(each) for each in found.implied],
        }

    return room.jobs.start(tenant.name, "reflect", work).told()


@router.get("/quarantine")
def quarantined(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Lessons that are held back, each with the reason."""
    found = tenant.engine.memory.store.lessons(LessonQuery(status="quarantined", limit=MOST_PAGE))
    return {"object": "list", "data": [lesson_told(lesson) for lesson in found]}


@router.post("/forget")
def forget(body: Forget, room: InRoom, tenant: OfTenant, _caller: Teaches) -> dict[str, Any]:
    """Forget all lessons that fit, for good, with a signed receipt; or say what that would be (`dry_run`)."""
    if body.dry_run:
        return forgotten_told(tenant.learner.would_forget(body.request()), dry_run=True)
    outcome = tenant.learner.forget(body.request())
    room.forgot(tenant.name, outcome.ids)
    return forgotten_told(outcome)


@router.get("/{lesson_id}")
def show(lesson_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """A lesson."""
    return lesson_told(tenant.engine.memory.store.lesson(lesson_id))


@router.get("/{lesson_id}/history")
def history(lesson_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """All it replaced, itself, and all that replaced it, oldest first."""
    store = tenant.engine.memory.store
    store.lesson(lesson_id)
    return {"object": "list", "data": [lesson_told(lesson) for lesson in store.history(lesson_id)]}


@router.patch("/{lesson_id}")
def change(
    lesson_id: str,
    body: LessonChange,
    room: InRoom,
    tenant: OfTenant,
    caller: Teaches,
    if_match: Annotated[str | None, Header(description="id that the caller saw as the newest")] = None,
) -> dict[str, Any]:
    """Teach the lesson otherwise; the old one stays in history.

    With `If-Match: ID` it is done only while that lesson is still the newest of its history; else 412.
    """
    store = tenant.engine.memory.store
    old = store.lesson(lesson_id)
    if if_match is not None:
        _still_newest(store.history(lesson_id), if_match.strip('"'))
    given = {name: value for name, value in body.model_dump().items() if value is not None}
    row = {name: value for name, value in row_of(old).items() if name in _KEPT and value != ""}
    lesson = lesson_of({**row, **given, "author": caller.key_id or old.author}, table=None)
    room.limits.take_lessons(caller, 1)
    with room.metrics.teaching(1):
        outcome = tenant.learner.replace(old.id, lesson)
    room.metrics.judged([outcome])
    return taught_of(outcome)


@router.delete("/{lesson_id}")
def forget_one(lesson_id: str, room: InRoom, tenant: OfTenant, _caller: Teaches) -> dict[str, Any]:
    """Forget a lesson for good: rows, vectors, kept turns, adapters trained on it; with a signed receipt."""
    outcome = tenant.learner.forget(lesson_id)
    room.forgot(tenant.name, outcome.ids)
    return {"id": lesson_id, "deleted": True, **forgotten_told(outcome)}


@router.post("/{lesson_id}/release")
def release(lesson_id: str, tenant: OfTenant, _caller: Teaches) -> dict[str, Any]:
    """Let a lesson that was held back be recalled."""
    return taught_of(tenant.learner.release(lesson_id))


@router.post("/{lesson_id}/undo")
def undo(lesson_id: str, tenant: OfTenant, _caller: Teaches) -> dict[str, Any]:
    """Take a correction back: what it had replaced speaks again."""
    return {"object": "list", "data": [taught_of(outcome) for outcome in tenant.learner.undo(lesson_id)]}


_KEPT = frozenset(f.name for f in fields(Lesson)) - {
    *("id", "taught_at", "status", "superseded_by", "tenant", "sealed", "quarantine")
}


def _pair_told(pair: Pair) -> dict[str, Any]:
    told = {"older": lesson_told(pair.one), "newer": lesson_told(pair.other)}
    return {**told, "probability": round(pair.probability, 4), "on_purpose": pair.known}


def _still_newest(history: list[Lesson], seen: str) -> None:
    newest = history[-1].id if history else ""
    if seen != newest:
        raise ConflictError(
            f"The newest lesson of this history is {newest}, not {seen}.", hint="Look at it, then change that one."
        )

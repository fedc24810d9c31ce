"""Jobs and what starts them: sleep; and the adapters that come of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from everlearn.errors import AdapterNotFoundError
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.server.alerts import verdicts_of
from everlearn.server.api_schema import EVENTS
from everlearn.server.caller import Caller, may
from everlearn.server.events import HEADERS
from everlearn.server.jobs import ENDED, Job, Progress
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.shelf import AdapterShelf

router = APIRouter(prefix="/v1", tags=["jobs"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Admin = Annotated[Caller, Depends(may("admin"))]
_WATCH_SECONDS = 1.0
_NICER = 10


class SleepRequest(BaseModel):
    """Body of POST /v1/sleep."""

    model_config = ConfigDict(extra="forbid")
    domain: str | None = None
    epochs: int | None = Field(default=None, ge=1, le=100)
    rate: float | None = Field(default=None, gt=0, le=1)
    rank: int | None = Field(default=None, ge=1, le=256)
    wordings: int | None = Field(default=None, ge=1, le=64)
    general: int | None = Field(default=None, ge=4, le=len(general_prompts()), description="unrelated prompts")
    null_space: float | None = Field(
        default=None, gt=0, le=1, description="share of each layer's directions that is learned in; 1 = all"
    )
    strength: float | None = Field(default=None, ge=0, le=1e6, description="pull to the version before (EWC)")
    seed: int | None = Field(default=None, ge=0, le=2**32)
    fresh: bool = False

    def settings(self) -> SleepSettings:
        """As the learner takes them."""
        return SleepSettings().changed(**self.model_dump(exclude={"domain"}))


class Pointer(BaseModel):
    """Body of POST /v1/adapters/{name}/rollback: the step that the bare name shall mean; null = none."""

    model_config = ConfigDict(extra="forbid")
    step: int | None


@router.post("/sleep", status_code=202)
def sleep(body: SleepRequest, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Move lessons into adapters, each behind its test; a job to watch, whose result holds the verdicts."""
    settings = body.settings()

    def work(progress: Progress) -> dict[str, Any]:
        _step_back()
        verdicts = tenant.learner.sleep(
            body.domain,
            settings=settings,
            progress=progress,
            watch=lambda of, step: progress.trained(of, {"step": step.step, **step.figures()}),
        )
        for verdict in verdicts:
            room.metrics.slept(accepted=verdict.accepted)
        return {"verdicts": [asdict(verdict) for verdict in verdicts]}

    return room.jobs.start(tenant.name, "sleep", work).told()


@router.get("/sleep/verdicts")
def verdicts(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """All verdicts so far, oldest first."""
    return {"object": "list", "data": verdicts_of(tenant)}


@router.get("/adapters")
def adapters(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """All versions of all adapters; the one that a bare name means is marked."""
    shelf = _shelf(tenant)
    return {"object": "list", "data": [_adapter_told(shelf, version) for version in shelf.all()]}


@router.get("/adapters/{name}")
def adapter(name: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """One version, with the lessons and data that went into it."""
    shelf = _shelf(tenant)
    version = shelf.find(name)
    more = {"lessons": list(version.lessons), "answers": list(version.answers), "data": dict(version.data)}
    return {**_adapter_told(shelf, version), **more, "settings": dict(version.settings)}


@router.post("/adapters/{name}/rollback")
def rollback(name: str, body: Pointer, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Let a name mean another version, or none; rows that had retired for the newer one speak again."""
    shelf = _shelf(tenant)
    shelf.find(f"{name}@{body.step}") if body.step is not None else shelf.versions(name)
    if name not in shelf.names():
        raise AdapterNotFoundError(f"There is no adapter {name!r}.", hint="GET /v1/adapters lists them.")
    shelf.point(name, body.step)
    return {"name": name, "current": shelf.current(name)}


@router.delete("/adapters/{version}")
def remove(version: str, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Delete a version that is not in use."""
    _shelf(tenant).remove(version)
    return {"id": version, "object": "adapter.deleted", "deleted": True}


@router.get("/jobs")
def jobs(room: InRoom, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Jobs of this tenant, newest first."""
    return {"object": "list", "data": [job.told() for job in room.jobs.of(tenant.name)]}


@router.get("/jobs/{job_id}")
def job(job_id: str, room: InRoom, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """A job."""
    return room.jobs.find(tenant.name, job_id).told()


@router.get("/jobs/{job_id}/training")
def training(
    job_id: str, room: InRoom, tenant: OfTenant, _caller: Asks, after: Annotated[int, Query(ge=0)] = 0
) -> dict[str, Any]:
    """The figures of each update of what a job trains, oldest first; with `after` those whose `n` is greater.

    Each holds `n` (counts through the job), `of` (what is trained), `step`, `steps`, `loss` = `task` + `replay` +
    strength * `ewc` (nats), `rate` (learning rate), `norm` (of the gradient), `seconds`, `seconds_left`,
    `tokens_per_second`. Of a long training every second, fourth, ... update is kept.
    """
    found = room.jobs.find(tenant.name, job_id)
    return {"object": "list", "data": [step for step in list(found.training) if step["n"] > after]}


@router.post("/jobs/{job_id}/cancel")
def cancel(
    job_id: str, room: InRoom, tenant: OfTenant, _caller: Annotated[Caller, Depends(may("teach"))]
) -> dict[str, Any]:
    """End a job at its next step; what it committed stays."""
    return room.jobs.cancel(tenant.name, job_id).told()


@router.get("/jobs/{job_id}/events", response_class=StreamingResponse, responses=EVENTS)
async def watch(job_id: str, request: Request, room: InRoom, tenant: OfTenant, _caller: Asks) -> StreamingResponse:
    """Server-sent events: the job whenever it changes, until it has ended.

    Where it trains, `training` holds the figures of its last update; GET /v1/jobs/{job_id}/training has those before.
    """
    found = room.jobs.find(tenant.name, job_id)
    return StreamingResponse(_changes(found, request.app.state.ending), media_type="text/event-stream", headers=HEADERS)


async def _changes(found: Job, ending: Callable[[], bool]) -> AsyncIterator[str]:
    seen = -1
    while not ending():
        version, told = found.version, found.told()
        if version != seen:
            yield f"event: job\ndata: {json.dumps(told, ensure_ascii=False)}\n\n"
            seen = version
        else:
            yield ": keepalive\n\n"
        if told["status"] in ENDED:
            return
        await run_in_threadpool(_wait, found, seen)
        await asyncio.sleep(0.05)  # ten and more steps a second are told as one


def _wait(found: Job, seen: int) -> None:
    with found.changed:
        found.changed.wait_for(lambda: found.version != seen, timeout=_WATCH_SECONDS)


def _step_back() -> None:
    """Let the threads that answer go first, where the system has priorities by thread."""
    if hasattr(os, "setpriority"):
        from threading import get_native_id

        os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICER)


def _shelf(tenant: Tenant) -> AdapterShelf:
    specialists = tenant.engine.specialists
    assert specialists is not None, "the server opens engines with a folder of adapters"
    return specialists.shelf


def _adapter_told(shelf: AdapterShelf, version: Adapter) -> dict[str, Any]:
    made = int(version.created_at.timestamp()) if version.created_at else None
    return {
        "object": "adapter",
        "id": version.id,
        "name": version.name,
        "step": version.step,
        "in_use": shelf.current(version.name) == version.step,
        "parent": version.parent or None,
        "base": version.base,
        "lesson_count": len(version.lessons),
        "answer_count": len(version.answers),
        "created_at": made,
        "weights": version.weights,
    }

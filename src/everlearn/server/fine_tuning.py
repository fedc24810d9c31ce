"""/v1/fine_tuning/jobs: training an adapter on a file of questions and answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from everlearn.errors import ConflictError, SettingsError
from everlearn.server.caller import Caller, may
from everlearn.server.files import bytes_of
from everlearn.server.jobs import Progress
from everlearn.server.model_names import chosen
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant
from everlearn.server.tuning_work import CHECKPOINT, EVENT, KIND, OPEN, Tuning
from everlearn.specialists.adapter import checked_name
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["openai"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Admin = Annotated[Caller, Depends(may("admin"))]
Number = Annotated[int, Field(ge=1, le=256)]
_PLAIN = {"n_epochs": 3, "batch_size": 16, "learning_rate_multiplier": 1.0}
_SHOWN = {"cancelling": "running", "pausing": "running"}  # words that OpenAI's clients do not know


class Hyperparameters(BaseModel):
    """How it is trained; "auto" is the default of this server."""

    model_config = ConfigDict(extra="ignore")
    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = "auto"
    batch_size: Number | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"


class Supervised(BaseModel):
    """Settings of the supervised method."""

    model_config = ConfigDict(extra="ignore")
    hyperparameters: Hyperparameters | None = None


class Method(BaseModel):
    """Which method; this server has the supervised one."""

    model_config = ConfigDict(extra="ignore")
    type: str = "supervised"
    supervised: Supervised | None = None


class NewJob(BaseModel):
    """Body of POST /v1/fine_tuning/jobs."""

    model_config = ConfigDict(extra="ignore")
    model: str
    training_file: str
    validation_file: str | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: str | None = Field(default=None, max_length=64)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    metadata: dict[str, str] | None = None

    def how(self) -> dict[str, Any]:
        """Hyperparameters, "auto" filled in.

        Raises:
            SettingsError: another method than the supervised one.
        """
        method = self.method or Method()
        if method.type != "supervised":
            raise SettingsError(f"The method is {method.type!r}.", hint="This server fine-tunes supervised.")
        given = (method.supervised.hyperparameters if method.supervised else None) or self.hyperparameters
        rows = (given or Hyperparameters()).model_dump()
        return {name: _PLAIN[name] if value == "auto" else value for name, value in rows.items()}


@router.post("")
def create(body: NewJob, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Begin a fine-tuning; it goes on after a restart."""
    if chosen(tenant, body.model).adapter:
        raise SettingsError(f"{body.model} is an adapter.", hint="Fine-tune the base model.")
    for file_id in filter(None, (body.training_file, body.validation_file)):
        bytes_of(tenant, file_id)
    kept = {
        **body.model_dump(include={"training_file", "validation_file", "metadata"}),
        "model": body.model,
        "name": checked_name(body.suffix or "tuned"),
        "hyperparameters": body.how(),
        "seed": body.seed or 0,
        "status": "validating_files",
        **dict.fromkeys(("error", "finished_at", "fine_tuned_model", "trained_tokens")),
    }
    thing = StoredObject(f"ftjob-{new_id()}", KIND, kept, created_at=int(time.time()))
    tenant.objects.put(thing)
    Tuning(tenant, thing.id).tell("info", "The job was made.")
    begin(room, tenant, thing)
    return told(tenant, thing)


@router.get("")
def list_(
    tenant: OfTenant, _caller: Asks, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str = ""
) -> dict[str, Any]:
    """Jobs, newest first."""
    found = tenant.objects.listed(KIND, limit=limit + 1, after=after)
    return _page([told(tenant, each) for each in found], limit)


@router.get("/{job_id}")
def show(job_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """How far a job is."""
    return told(tenant, tenant.objects.get(KIND, job_id))


@router.post("/{job_id}/cancel")
def cancel(job_id: str, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """End a job for good."""
    return _stopped(room, tenant, job_id, "cancelling", "cancelled")


@router.post("/{job_id}/pause")
def pause(job_id: str, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Stop a job; what it has learned up to its last saved state is kept."""
    return _stopped(room, tenant, job_id, "pausing", "paused")


@router.post("/{job_id}/resume")
def resume_one(job_id: str, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Go on with a job that is paused."""

    def queued(body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body["status"] != "paused":
            raise ConflictError(f"{job_id} is {body['status']}.", hint="Only a paused job is resumed.")
        return {**body, "status": "queued"}

    thing = tenant.objects.change(KIND, job_id, queued)
    begin(room, tenant, thing)
    return told(tenant, thing)


@router.get("/{job_id}/events")
def events(
    job_id: str, tenant: OfTenant, _caller: Asks, limit: Annotated[int, Query(ge=1, le=1000)] = 20, after: str = ""
) -> dict[str, Any]:
    """What happened, newest first."""
    tenant.objects.get(KIND, job_id)
    found = tenant.objects.listed(EVENT, parent=job_id, limit=limit + 1, after=after)
    return _page(
        [{"object": "fine_tuning.job.event", "id": e.id, "created_at": e.created_at, **e.body} for e in found], limit
    )


@router.get("/{job_id}/checkpoints")
def checkpoints(
    job_id: str, tenant: OfTenant, _caller: Asks, limit: Annotated[int, Query(ge=1, le=100)] = 10, after: str = ""
) -> dict[str, Any]:
    """Versions that can be asked."""
    tenant.objects.get(KIND, job_id)
    found = tenant.objects.listed(CHECKPOINT, parent=job_id, limit=limit + 1, after=after)
    rows = [{"object": "fine_tuning.job.checkpoint", "id": c.id, "created_at": c.created_at, **c.body} for c in found]
    page = _page([{**row, "fine_tuning_job_id": job_id} for row in rows], limit)
    data = page["data"]
    return {**page, "first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}


def begin(room: Room, tenant: Tenant, thing: StoredObject) -> None:
    """Work on a job in the background."""

    def work(progress: Progress) -> dict[str, Any]:
        return Tuning(tenant, thing.id).work(progress)

    room.jobs.start(tenant.name, KIND, work, subject=thing.id, folder=tenant.folder)


def resume(room: Room, tenant: Tenant) -> None:
    """Go on with jobs that were not finished when the server ended."""
    for thing in tenant.objects.listed(KIND, oldest=True):
        if thing.body["status"] in OPEN:
            begin(room, tenant, thing)


def told(tenant: Tenant, thing: StoredObject) -> dict[str, Any]:
    """A job as the API shows it."""
    body = cast(dict[str, Any], thing.body)
    how = body["hyperparameters"]
    names = ("error", "finished_at", "fine_tuned_model", "trained_tokens", "training_file", "validation_file", "seed")
    return {
        "id": thing.id,
        "object": KIND,
        "created_at": thing.created_at,
        "model": body["model"],
        "status": _SHOWN.get(body["status"], body["status"]),
        "organization_id": tenant.name,
        "result_files": [],
        "integrations": [],
        "hyperparameters": how,
        "method": {"type": "supervised", "supervised": {"hyperparameters": how}},
        "metadata": body["metadata"],
        **{name: body[name] for name in names},
    }


def _stopped(room: Room, tenant: Tenant, job_id: str, going: str, gone: str) -> dict[str, Any]:
    def stopped(body: Mapping[str, Any]) -> Mapping[str, Any]:
        if body["status"] not in OPEN and not (body["status"] == "paused" and gone == "cancelled"):
            raise ConflictError(f"{job_id} is {body['status']}.", hint="There is nothing to stop.")
        ended = {} if runs or gone == "paused" else {"finished_at": int(time.time())}
        return {**body, **ended, "status": going if runs else gone}

    runs = room.jobs.stop(tenant.name, job_id)
    return told(tenant, tenant.objects.change(KIND, job_id, stopped))


def _page(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    return {"object": "list", "data": rows[:limit], "has_more": len(rows) > limit}

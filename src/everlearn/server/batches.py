"""/v1/batches: many requests in a file, answered in the background."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from everlearn.errors import ConflictError
from everlearn.server.asking import Asker
from everlearn.server.batch_work import ERRORS, KIND, OUTPUT, work_on
from everlearn.server.caller import Caller, may
from everlearn.server.files import bytes_of, made_of_rows, page_of
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

router = APIRouter(prefix="/v1/batches", tags=["openai"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
_DAY = 86_400
_TIMES = ("in_progress_at", "completed_at", "failed_at", "cancelling_at", "cancelled_at")
_OPEN = ("validating", "in_progress", "cancelling")


class NewBatch(BaseModel):
    """Body of POST /v1/batches."""

    model_config = ConfigDict(extra="ignore")
    input_file_id: str
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Literal["24h"] = "24h"
    metadata: dict[str, str] | None = None


@router.post("")
def create(body: NewBatch, room: InRoom, tenant: OfTenant, caller: Asks) -> dict[str, Any]:
    """Begin a batch; it goes on after a restart."""
    bytes_of(tenant, body.input_file_id)
    batch_id = f"batch_{new_id()}"
    kept = {
        **body.model_dump(),
        "status": "validating",
        "output_file_id": made_of_rows(tenant, f"{batch_id}_output.jsonl", "batch_output", OUTPUT),
        "error_file_id": made_of_rows(tenant, f"{batch_id}_error.jsonl", "batch_output", ERRORS),
        "caller": {"key_id": caller.key_id, "scopes": sorted(caller.scopes)},
    }
    thing = StoredObject(batch_id, KIND, kept, created_at=int(time.time()))
    tenant.objects.put(thing)
    begin(room, tenant, thing)
    return told(tenant, thing)


@router.get("")
def list_(
    tenant: OfTenant, _caller: Asks, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str = ""
) -> dict[str, Any]:
    """Batches, newest first."""
    found = tenant.objects.listed(KIND, limit=limit + 1, after=after)
    return page_of([told(tenant, each) for each in found], limit)


@router.get("/{batch_id}")
def show(batch_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """How far a batch is."""
    return told(tenant, tenant.objects.get(KIND, batch_id))


@router.post("/{batch_id}/cancel")
def cancel(batch_id: str, room: InRoom, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """End a batch; what was answered stays."""

    def cancelling(body: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
        if body["status"] not in _OPEN:
            raise ConflictError(f"{batch_id} is {body['status']}.", hint="There is nothing to cancel.")
        now = int(time.time())
        if runs:
            return {**body, "status": "cancelling", "cancelling_at": now}
        return {**body, "status": "cancelled", "cancelling_at": now, "cancelled_at": now}

    runs = room.jobs.stop(tenant.name, batch_id)
    return told(tenant, tenant.objects.change(KIND, batch_id, cancelling))


def begin(room: Room, tenant: Tenant, thing: StoredObject) -> None:
    """Work on a batch in the background."""
    who = thing.body["caller"]
    asker = Asker(room, tenant, Caller(tenant.name, frozenset(who["scopes"]), who["key_id"]))

    def work(progress: Any) -> dict[str, Any]:  # noqa: ANN401 -- of a job
        body = work_on(asker, thing.id, progress)
        return {"batch": thing.id, "status": body["status"]}

    room.jobs.start(tenant.name, KIND, work, subject=thing.id, folder=tenant.folder)


def resume(room: Room, tenant: Tenant) -> None:
    """Go on with batches that were not finished when the server ended."""
    for thing in tenant.objects.listed(KIND, oldest=True):
        if thing.body["status"] in _OPEN:
            begin(room, tenant, thing)


def told(tenant: Tenant, thing: StoredObject) -> dict[str, Any]:
    """A batch as the API shows it."""
    body = thing.body
    done = tenant.objects.count(OUTPUT, body["output_file_id"])
    failed = tenant.objects.count(ERRORS, body["error_file_id"])
    counts = {"total": body.get("total", 0), "completed": done, "failed": failed}
    shown = {name: body[name] for name in ("endpoint", "input_file_id", "completion_window", "status", "metadata")}
    times = {name: body[name] for name in _TIMES if name in body}
    errors = {"errors": body["errors"]} if "errors" in body else {}
    results = {"output_file_id": body["output_file_id"]} if done else {}
    results |= {"error_file_id": body["error_file_id"]} if failed else {}
    made = {"id": thing.id, "object": "batch", "created_at": thing.created_at, "expires_at": thing.created_at + _DAY}
    return {**made, **shown, **times, **errors, **results, "request_counts": counts}

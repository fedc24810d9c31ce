"""Whether the server lives, is ready, and how it goes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from starlette.requests import Request

from everlearn.records import DEFAULT_TENANT
from everlearn.server.api_schema import TEXT
from everlearn.server.caller import Caller, may
from everlearn.server.metrics import CONTENT_TYPE
from everlearn.server.room import VERSION, Room, room_of
from everlearn.server.tenants import Tenant

router = APIRouter(tags=["health"])
InRoom = Annotated[Room, Depends(room_of)]


@router.get("/health")
@router.get("/health/live", include_in_schema=False)
@router.get("/ping", include_in_schema=False)
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready")
@router.get("/health/ready", include_in_schema=False)
def ready(room: InRoom, response: Response) -> dict[str, Any]:
    """The base model is loaded and the store of the default tenant can be read; else 503."""
    tenant = room.tenants.get(DEFAULT_TENANT)
    seq = tenant.engine.memory.store.seq()
    load = room.answering.load()
    return {
        "status": "ready",
        "model": tenant.engine.name,
        "seq": seq,
        "running": load.running,
        "waiting": load.waiting,
    }


@router.get("/version")
def version() -> dict[str, str]:
    """Of everlearn."""
    return {"version": VERSION}


@router.get("/metrics", response_class=Response, responses=TEXT)
def metrics(room: InRoom, _caller: Annotated[Caller, Depends(may("admin"))]) -> Response:
    """Figures in Prometheus' format."""
    room.metrics.loaded(room.answering.load())
    for tenant in room.tenants:
        infos = tenant.engine.memory.tables()
        counts = {s: sum(getattr(i, s) for i in infos) for s in ("active", "superseded", "quarantined")}
        room.metrics.held(tenant.name, counts)
        room.metrics.stored(tenant.name, _sizes(tenant))
    return Response(room.metrics.text(), media_type=CONTENT_TYPE)


def _sizes(tenant: Tenant) -> dict[str, int]:
    """Bytes on disk of a tenant's state."""
    memory, specialists = tenant.engine.memory, tenant.engine.specialists
    sizes = {"lessons": memory.store.stored_bytes(), "derived": memory.derived.stored_bytes()}
    if specialists is not None and specialists.shelf.folder.is_dir():
        files = (path.stat() for path in specialists.shelf.folder.rglob("*") if path.is_file())
        sizes["adapters"] = sum(found.st_size for found in files)
    return sizes


@router.get("/v1/system")
def system(room: InRoom, request: Request, _caller: Annotated[Caller, Depends(may("ask"))]) -> dict[str, Any]:
    """What this server is: version, base model, encoder, and what the caller may do."""
    from everlearn.server.caller import caller_of

    caller = caller_of(request)
    engine = room.tenant(caller).engine
    return {
        "version": VERSION,
        "model": engine.name,
        "context_length": engine.model.context_length,
        "blocks": engine.model.num_blocks,
        "tenant": caller.tenant,
        "scopes": sorted(caller.scopes),
        "teach_in_chat": room.settings.teach_in_chat,
    }

"""/v1/tables: look-up tables and their settings, and promotion from one to a higher one."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, UploadFile
from pydantic import BaseModel, ConfigDict
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from everlearn.errors import ConflictError
from everlearn.records import Proposal, TableInfo, TableSettings
from everlearn.server.api_schema import BYTES
from everlearn.server.caller import Caller, may
from everlearn.server.lesson_shapes import forgotten_told
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1", tags=["tables"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Teaches = Annotated[Caller, Depends(may("teach"))]
Admin = Annotated[Caller, Depends(may("admin"))]


class Settings(BaseModel):
    """Settings of a table; what is left out stays, or is the default."""

    model_config = ConfigDict(extra="forbid")
    threshold: float | None = None
    residual: float | None = None
    blocks: list[int] | None = None
    sparsity: float | None = None
    output: bool | None = None
    values: Literal["difference", "learned", "learned-at-prompt"] | None = None
    context_threshold: float | None = None
    context_tokens: int | None = None
    layer: Literal["", "personal", "team", "organisation"] | None = None
    owner: str | None = None

    def over(self, settings: TableSettings) -> TableSettings:
        """These laid over others."""
        given = {n: v for n, v in self.model_dump(exclude={"name"}).items() if v is not None and n != "name"}
        if "blocks" in given:
            given["blocks"] = tuple(given["blocks"])
        return replace(settings, **given)


class NewTable(Settings):
    """Body of POST /v1/tables."""

    name: str


class NewProposal(BaseModel):
    """Body of POST /v1/proposals: a lesson that somebody wants in a table of a higher layer."""

    model_config = ConfigDict(extra="forbid")
    lesson_id: str
    table: str
    reason: str = ""
    author: str = ""


class Decision(BaseModel):
    """Body of POST /v1/proposals/{id}/accept or /reject."""

    model_config = ConfigDict(extra="forbid")
    decision: str = ""
    by: str = ""


@router.get("/tables")
def list_(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """All look-up tables with their settings and how many lessons they hold."""
    return {"object": "list", "data": [table_told(info) for info in tenant.engine.memory.tables()]}


@router.post("/tables", status_code=201)
def create(body: NewTable, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Create a table."""
    if any(info.name == body.name for info in tenant.engine.memory.tables()):
        raise ConflictError(f"There is a table {body.name!r} already.", hint="Change it with PATCH.")
    tenant.learner.put_table(body.name, body.over(TableSettings()))
    return _one(tenant, body.name)


@router.get("/tables/{name}")
def show(name: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """A table."""
    return _one(tenant, name)


@router.patch("/tables/{name}")
def change(name: str, body: Settings, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Change settings of a table; they hold from the next question on."""
    tenant.learner.put_table(name, body.over(tenant.engine.memory.store.table(name)))
    return _one(tenant, name)


@router.delete("/tables/{name}")
def delete(name: str, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Delete a table and forget all its lessons."""
    outcome = tenant.learner.delete_table(name)
    room.forgot(tenant.name, outcome.ids)
    return {"name": name, "deleted": True, **forgotten_told(outcome)}


@router.get("/tables/{name}/export", response_class=Response, responses=BYTES)
def export(name: str, tenant: OfTenant, _caller: Admin, keys_only: bool = False) -> Response:
    """The table as one bundle (.zip): lessons, keys and values, and a card; or keys and values without any text."""
    aside = tempfile.TemporaryDirectory(prefix="everlearn-export-")
    path = Path(aside.name) / f"{name}.zip"
    tenant.learner.sharing.export_table(name, path, keys_and_values_only=keys_only)
    return FileResponse(
        path, filename=path.name, media_type="application/zip", background=BackgroundTask(aside.cleanup)
    )


@router.post("/tables/import", status_code=201)
def import_(
    file: UploadFile, tenant: OfTenant, _caller: Admin, table: str | None = None, derive: bool = False
) -> dict[str, Any]:
    """Take in a bundle, under its own name or another; `derive` makes keys and values anew for this base model."""
    with tempfile.TemporaryDirectory(prefix="everlearn-import-") as aside:
        path = Path(aside) / "bundle.zip"
        with path.open("wb") as out:
            while block := file.file.read(1 << 20):
                out.write(block)
        outcome = tenant.learner.sharing.import_table(path, table=table, derive=derive)
    return {"object": "table.imported", **asdict(outcome)}


@router.get("/proposals")
def proposals(
    tenant: OfTenant, _caller: Asks, status: Literal["pending", "accepted", "rejected"] | None = None
) -> dict[str, Any]:
    """Lessons that somebody wants in a table of a higher layer."""
    found = tenant.engine.memory.store.proposals(status)
    return {"object": "list", "data": [_proposal_told(proposal) for proposal in found]}


@router.post("/proposals", status_code=201)
def propose(body: NewProposal, tenant: OfTenant, caller: Teaches) -> dict[str, Any]:
    """Propose a lesson for a table of a higher layer."""
    author = body.author or caller.key_id
    return _proposal_told(tenant.learner.sharing.propose(body.lesson_id, body.table, author=author, reason=body.reason))


@router.post("/proposals/{proposal_id}/accept")
def accept(proposal_id: str, body: Decision, tenant: OfTenant, caller: Admin) -> dict[str, Any]:
    """Accept a proposal: the lesson is taught to the higher table."""
    by = body.by or caller.key_id
    return _proposal_told(tenant.learner.sharing.accept(proposal_id, by=by, decision=body.decision))


@router.post("/proposals/{proposal_id}/reject")
def reject(proposal_id: str, body: Decision, tenant: OfTenant, caller: Admin) -> dict[str, Any]:
    """Reject a proposal."""
    by = body.by or caller.key_id
    return _proposal_told(tenant.learner.sharing.reject(proposal_id, by=by, decision=body.decision))


def table_told(info: TableInfo) -> dict[str, Any]:
    """A table as the API shows it."""
    counts = {"active": info.active, "superseded": info.superseded, "quarantined": info.quarantined}
    return {"object": "table", "name": info.name, "settings": asdict(info.settings), "lessons": counts}


def _one(tenant: Tenant, name: str) -> dict[str, Any]:
    tenant.engine.memory.table(name)  # says which one was meant where there is none
    return next(table_told(info) for info in tenant.engine.memory.tables() if info.name == name)


def _proposal_told(proposal: Proposal) -> dict[str, Any]:
    times = {n: t.isoformat() if (t := getattr(proposal, n)) else None for n in ("created_at", "decided_at")}
    return {"object": "proposal", **asdict(proposal), **times}

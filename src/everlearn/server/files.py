"""/v1/files: what clients upload for batches and fine-tuning, and what comes of batches."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, Form, Query, UploadFile
from starlette.responses import Response

from everlearn.errors import ConflictError, StoreFullError
from everlearn.server.api_schema import BYTES
from everlearn.server.caller import Caller, may
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

router = APIRouter(prefix="/v1/files", tags=["openai"])
KIND, FOLDER = "file", "files"
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
_MOST_NAME = 255


@router.post("")
def upload(file: UploadFile, purpose: Annotated[Purpose, Form()], tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Upload a file."""
    name = PurePath(file.filename or "upload").name[:_MOST_NAME]
    file_id = f"file-{new_id()}"
    size = _write(tenant.folder / FOLDER, file_id, file)
    return _kept(tenant, file_id, {"filename": name, "purpose": purpose, "bytes": size})


@router.get("")
def list_(
    tenant: OfTenant,
    _caller: Asks,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    after: str = "",
) -> dict[str, Any]:
    """Files, newest first."""
    found = tenant.objects.listed(KIND, after=after, oldest=order == "asc")
    rows = [told(tenant, each) for each in found if purpose in (None, each.body["purpose"])]
    return page_of(rows, limit)


@router.get("/{file_id}")
def show(file_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """What is known of a file."""
    return told(tenant, tenant.objects.get(KIND, file_id))


@router.get("/{file_id}/content", response_class=Response, responses=BYTES)
def content(file_id: str, tenant: OfTenant, _caller: Asks) -> Response:
    """The bytes of a file."""
    return Response(bytes_of(tenant, file_id), media_type="application/octet-stream")


@router.delete("/{file_id}")
def remove(file_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Delete a file for good."""
    tenant.objects.delete(KIND, file_id)
    (tenant.folder / FOLDER / file_id).unlink(missing_ok=True)
    return {"id": file_id, "object": "file", "deleted": True}


def bytes_of(tenant: Tenant, file_id: str) -> bytes:
    """All that a file holds; the results of a batch are put together from its rows.

    Raises:
        NotFoundError: there is no such file.
        ConflictError: its bytes are gone from the folder.
    """
    kept = tenant.objects.get(KIND, file_id)
    if rows := kept.body.get("rows"):
        lines = tenant.objects.listed(rows, parent=file_id, oldest=True)
        return "".join(f"{json.dumps(line.body, ensure_ascii=False)}\n" for line in lines).encode()
    try:
        return (tenant.folder / FOLDER / file_id).read_bytes()
    except FileNotFoundError as cause:
        raise ConflictError(f"The bytes of {file_id} are gone.", hint="Delete it and upload it again.") from cause


def made_of_rows(tenant: Tenant, name: str, purpose: str, rows: str) -> str:
    """Make a file that is put together from objects; returns its id, which is the parent of those objects."""
    file_id = f"file-{new_id()}"
    _kept(tenant, file_id, {"filename": name, "purpose": purpose, "bytes": 0, "rows": rows})
    return file_id


def told(tenant: Tenant, kept: StoredObject) -> dict[str, Any]:
    """A file as the API shows it."""
    body = kept.body
    size = len(bytes_of(tenant, kept.id)) if "rows" in body else body["bytes"]
    shown = {"bytes": size, "filename": body["filename"], "purpose": body["purpose"]}
    return {"id": kept.id, "object": "file", "created_at": kept.created_at, "status": "processed", **shown}


def page_of(rows: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A list as the API shows it, cut to a page."""
    page = rows[:limit]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, "has_more": len(rows) > limit, **ends}


def _kept(tenant: Tenant, file_id: str, body: dict[str, Any]) -> dict[str, Any]:
    thing = StoredObject(file_id, KIND, body, created_at=int(time.time()))
    tenant.objects.put(thing)
    return told(tenant, thing)


def _write(folder: Path, file_id: str, file: UploadFile) -> int:
    """Write an upload aside, flush it, and rename it into place; returns its bytes."""
    part = folder / f".{uuid4().hex[:8]}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            while block := file.file.read(1 << 20):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
            size = out.tell()
        part.replace(folder / file_id)
    except OSError as cause:
        part.unlink(missing_ok=True)
        raise StoreFullError(f"{folder} cannot be written: {cause}.", hint="Free some room.") from cause
    return size

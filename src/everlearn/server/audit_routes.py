"""/v1/audit: who did what in this tenant."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from everlearn.server.caller import Caller, may
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1/audit", tags=["audit"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Admin = Annotated[Caller, Depends(may("admin"))]


@router.get("")
def list_(
    tenant: OfTenant,
    _caller: Admin,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int, Query(ge=0, lt=2**53)] = 0,
) -> dict[str, Any]:
    """Entries, newest first; with `before` those with a lower number."""
    found = tenant.audit.entries(limit=limit, before=before)
    return {"object": "list", "data": [{"object": "audit.entry", **asdict(entry)} for entry in found]}


@router.get("/verify")
def verify(tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Follow the chain of hashes; `flaws` says what does not fit. Keep `head` elsewhere to see a cut at the end."""
    flaws, newest = tenant.audit.flaws(), tenant.audit.entries(limit=1)
    head = newest[0].hash if newest else None
    return {"object": "audit.report", "whole": not flaws, "flaws": flaws, "head": head}

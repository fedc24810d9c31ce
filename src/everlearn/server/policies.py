"""/v1/policy: what is filtered in this tenant."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from everlearn.safety.policy import Policy, policy_of
from everlearn.server.caller import Caller, may
from everlearn.server.filters import KIND, keep_policy, policy_for
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1/policy", tags=["safety"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Admin = Annotated[Caller, Depends(may("admin"))]


class NewPolicy(BaseModel):
    """Body of PUT /v1/policy: what is not named is allowed."""

    model_config = ConfigDict(extra="forbid")
    actions: dict[str, str] = Field(
        default_factory=dict, description="kind of personal data, 'pii' or category -> allow, flag, redact or block"
    )
    stages: list[str] | None = Field(default=None, description="input, lesson, recalled, output; all by default")
    phrases: list[str] | None = Field(default=None, description="words that the category 'phrase' means")


@router.get("")
def show(room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """What is filtered, and whether this tenant has said so itself or the server's default holds."""
    return _told(policy_for(room, tenant), own=bool(tenant.objects.listed(KIND, limit=1)))


@router.put("")
def change(body: NewPolicy, room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Say what is filtered; it holds from the next request on."""
    given = {name: value for name, value in body.model_dump().items() if value is not None}
    return _told(keep_policy(room, tenant, policy_of(given)), own=True)


@router.delete("")
def reset(room: InRoom, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Go back to the server's default."""
    if tenant.objects.listed(KIND, limit=1):
        tenant.objects.delete(KIND, KIND)
    room.cache.clear(tenant.name)
    return _told(room.settings.policy, own=False)


def _told(policy: Policy, *, own: bool) -> dict[str, Any]:
    return {"object": "policy", "own": own, **policy.told()}

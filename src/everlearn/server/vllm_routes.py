"""vLLM's names for loading and unloading adapters. Versions of this tenant's own shelf are meant, never a path."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from everlearn.errors import AdapterNotFoundError, InputError
from everlearn.server.caller import Caller, may
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant
from everlearn.specialists.specialists import Specialists

router = APIRouter(prefix="/v1", tags=["vllm"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Admin = Annotated[Caller, Depends(may("admin"))]


class LoadAdapter(BaseModel):
    """Body of POST /v1/load_lora_adapter. A path is taken only where it is the name itself."""

    model_config = ConfigDict(extra="ignore")
    lora_name: str
    lora_path: str = ""


class UnloadAdapter(BaseModel):
    """Body of POST /v1/unload_lora_adapter."""

    model_config = ConfigDict(extra="ignore")
    lora_name: str


@router.post("/load_lora_adapter")
def load(body: LoadAdapter, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Read the weights of a version before anybody asks for it."""
    if body.lora_path not in ("", body.lora_name):
        raise InputError("lora_path is a path; this server takes none.", hint="Leave it out, and name a version.")
    specialists = _specialists(tenant)
    version = specialists.adapters.load(body.lora_name)
    return {"object": "adapter.loaded", "id": version, "loaded": specialists.adapters.loaded}


@router.post("/unload_lora_adapter")
def unload(body: UnloadAdapter, tenant: OfTenant, _caller: Admin) -> dict[str, Any]:
    """Free the bytes of a version; it is read again when somebody asks for it."""
    specialists = _specialists(tenant)
    version = specialists.shelf.find(body.lora_name).id
    if version not in specialists.adapters.loaded:
        raise AdapterNotFoundError(f"{version} is not loaded.", hint="There is nothing to unload.")
    specialists.adapters.unload(version)
    return {"object": "adapter.unloaded", "id": version, "loaded": specialists.adapters.loaded}


def _specialists(tenant: Tenant) -> Specialists:
    specialists = tenant.engine.specialists
    assert specialists is not None, "the server opens engines with a folder of adapters"
    return specialists

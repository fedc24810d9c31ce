"""The memory as a server of the Model Context Protocol, without sessions: each POST is answered by itself.

Source: modelcontextprotocol.io, revision 2025-11-25 (streamable HTTP). A client of the stateless revision 2026-07-28
sends no `initialize`; nothing here needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from everlearn.errors import EverlearnError
from everlearn.server.asking import Asker
from everlearn.server.caller import Caller, may
from everlearn.server.mcp_tools import TOOLS
from everlearn.server.room import VERSION, Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(tags=["mcp"])
REVISIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")
_PARSE, _REQUEST, _METHOD, _PARAMS = -32700, -32600, -32601, -32602
_SAYS = "Memory of everlearn: what is taught here is known to the model at once, and can be forgotten exactly."


class RpcError(Exception):
    """A JSON-RPC error. Internal."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@router.post("/v1/mcp")
async def mcp(
    request: Request,
    room: Annotated[Room, Depends(room_of)],
    tenant: Annotated[Tenant, Depends(tenant_of)],
    caller: Annotated[Caller, Depends(may("ask"))],
) -> Response:
    """One JSON-RPC message: `tools/list` and `tools/call` over the memory of the caller's tenant."""
    message: Any = None
    try:
        message = _read(await request.body())
        if "id" not in message:
            return Response(status_code=202)  # a notification
        result = await run_in_threadpool(_result, Asker(room, tenant, caller), message)
    except RpcError as error:
        told = {"code": error.code, "message": str(error)}
        number = message.get("id") if isinstance(message, Mapping) else None
        return JSONResponse({"jsonrpc": "2.0", "id": number, "error": told})
    return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as cause:
        raise RpcError(_PARSE, "The body is no JSON.") from cause
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
        raise RpcError(_REQUEST, "The body is no JSON-RPC request.")
    return message


def _result(asker: Asker, message: Mapping[str, Any]) -> dict[str, Any]:
    method, params = message["method"], message.get("params") or {}
    if not isinstance(params, dict):
        raise RpcError(_PARAMS, "params is no object.")
    about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "everlearn", "version": VERSION}}
    if method == "initialize":
        wanted = params.get("protocolVersion")
        return {"protocolVersion": wanted if wanted in REVISIONS else REVISIONS[1], **about, "instructions": _SAYS}
    if method == "server/discover":
        return {"supportedVersions": list(REVISIONS), **about, "instructions": _SAYS}
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": [tool.told() for tool in TOOLS.values()]}
    if method == "tools/call":
        return _called(asker, params)
    raise RpcError(_METHOD, f"There is no method {method!r}.")


def _called(asker: Asker, params: Mapping[str, Any]) -> dict[str, Any]:
    tool, given = TOOLS.get(str(params.get("name"))), params.get("arguments") or {}
    if tool is None or not isinstance(given, dict):
        raise RpcError(_PARAMS, f"There is no tool {params.get('name')!r}, or its arguments are no object.")
    try:
        told = tool.call(asker, given)
    except EverlearnError as error:  # the model that called is told, and may do better
        return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    text = json.dumps(told, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": told, "isError": False}

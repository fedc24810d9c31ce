"""/v1/responses: over HTTP, whole or as a stream, and over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from everlearn.errors import SettingsError
from everlearn.server import asking
from everlearn.server.api_schema import EVENTS
from everlearn.server.asking import Asker
from everlearn.server.caller import Caller, may
from everlearn.server.events import streamed
from everlearn.server.responding import KIND, Event, begun, events
from everlearn.server.response_shapes import ResponseRequest
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1/responses", tags=["openai"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]


@router.post("", responses=EVENTS)
async def respond(
    body: ResponseRequest,
    request: Request,
    room: Annotated[Room, Depends(room_of)],
    tenant: OfTenant,
    caller: Asks,
) -> Response:
    """Answer; with `previous_response_id` a conversation goes on."""
    asker = Asker(room, tenant, caller)
    if not body.stream:
        return JSONResponse(await asking.unless_gone(responded(asker, body), request))
    told = events(await run_in_threadpool(begun, asker, body))
    first = await anext(told)  # an error before the first event is an error of the request, not of the stream
    return streamed(_with(first, told), named=True, end="")


async def responded(asker: Asker, body: ResponseRequest) -> dict[str, Any]:
    """The whole response.

    Raises:
        EverlearnError: it cannot be answered.
    """
    last: Event = {}
    async for event in events(await run_in_threadpool(begun, asker, body)):
        last = event
    response: dict[str, Any] = last["response"]
    return response


@router.get("/{response_id}")
def show(response_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """A response that was kept; it is gone once a lesson that it rests on was forgotten."""
    response: dict[str, Any] = tenant.objects.get(KIND, response_id).body["response"]
    return response


@router.get("/{response_id}/input_items")
def input_items(
    response_id: str,
    tenant: OfTenant,
    _caller: Asks,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str = "",
) -> dict[str, Any]:
    """What a response was asked, and what it went on from."""
    kept = tenant.objects.get(KIND, response_id).body
    items = [*kept["before"], *kept["input"]]
    if order == "desc":
        items.reverse()
    begin = next((n + 1 for n, item in enumerate(items) if item["id"] == after), 0)
    page = items[begin : begin + limit]
    ends = {"first_id": page[0]["id"] if page else "", "last_id": page[-1]["id"] if page else ""}
    return {"object": "list", "data": page, "has_more": begin + limit < len(items), **ends}


@router.post("/{response_id}/cancel")
def cancel(response_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Responses in the background can be cancelled, and this server has none."""
    tenant.objects.get(KIND, response_id)
    raise SettingsError(f"{response_id} is not answered in the background.", hint="End a stream by closing it.")


@router.delete("/{response_id}")
def remove(response_id: str, tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Delete a response that was kept."""
    tenant.objects.delete(KIND, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


async def _with(first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    async for event in rest:
        yield event

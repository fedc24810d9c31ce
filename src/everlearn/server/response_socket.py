"""The WebSocket form of the responses API: a frame `response.create` in, the events of the stream out.

Frames of one `stream_id` are answered one after the other, those of several at once; each event tells its stream.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any, final

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from everlearn.errors import EverlearnError, InputError, OverloadedError
from everlearn.server.asking import Asker
from everlearn.server.caller import Caller, may
from everlearn.server.faults import body_of, status_of, told
from everlearn.server.responding import begun, events
from everlearn.server.response_shapes import ResponseRequest
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter()
_LANE = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_MOST_LANES, _MOST_QUEUED = 64, 64


@router.websocket("/v1/responses")
async def socket(
    websocket: WebSocket,
    room: Annotated[Room, Depends(room_of)],
    tenant: Annotated[Tenant, Depends(tenant_of)],
    caller: Annotated[Caller, Depends(may("ask"))],
) -> None:
    """Answer frames until the client goes."""
    await websocket.accept()
    lanes = _Lanes(websocket, Asker(room, tenant, caller))
    try:
        while True:
            await lanes.take(await websocket.receive_text())
    except (WebSocketDisconnect, KeyError):  # gone; or it sent bytes, which are no frame of this protocol
        return
    finally:
        lanes.close()


@final
class _Lanes:
    """The lanes of one connection."""

    def __init__(self, websocket: WebSocket, asker: Asker) -> None:
        self._websocket, self._asker = websocket, asker
        self._queues: dict[str, asyncio.Queue[ResponseRequest]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._sending = asyncio.Lock()

    async def take(self, text: str) -> None:
        """Queue a frame, or tell what is wrong with it."""
        lane = ""
        try:
            frame = _frame(text)
            lane = frame.pop("stream_id", "")
            self._asker.room.limits.take_request(self._asker.caller)
            self._queue(lane).put_nowait(ResponseRequest.model_validate({**frame, "stream": True}))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            fault = body_of(400, f"{place}: {first['msg']}.", code="invalid_value", param=place)
            await self._send(lane, {"type": "error", "status": 400, **fault})
        except asyncio.QueueFull:
            await self._refuse(lane, OverloadedError(f"{_MOST_QUEUED} frames of this stream wait already."))
        except EverlearnError as error:
            await self._refuse(lane, error)

    def close(self) -> None:
        """End all answers."""
        for task in self._tasks:
            task.cancel()

    def _queue(self, lane: str) -> asyncio.Queue[ResponseRequest]:
        if lane not in self._queues:
            if len(self._queues) >= _MOST_LANES:
                raise OverloadedError(f"This connection has {_MOST_LANES} streams already.", hint="Open another one.")
            self._queues[lane] = asyncio.Queue(_MOST_QUEUED)
            self._tasks.append(asyncio.create_task(self._answer(lane, self._queues[lane])))
        return self._queues[lane]

    async def _answer(self, lane: str, queue: asyncio.Queue[ResponseRequest]) -> None:
        while True:
            body = await queue.get()
            try:
                async for event in events(await run_in_threadpool(begun, self._asker, body)):
                    await self._send(lane, event)
            except EverlearnError as error:
                await self._refuse(lane, error)

    async def _refuse(self, lane: str, error: EverlearnError) -> None:
        status = status_of(error)
        await self._send(lane, {"type": "error", "status": status, **told(error)})

    async def _send(self, lane: str, event: dict[str, Any]) -> None:
        async with self._sending:
            await self._websocket.send_text(json.dumps({**event, "stream_id": lane} if lane else event))


def _frame(text: str) -> dict[str, Any]:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise InputError("The frame is no JSON.", hint='Send {"type": "response.create", ...}.') from cause
    if not isinstance(frame, dict) or frame.get("type") != "response.create":
        raise InputError("The frame is no response.create.", hint='Send {"type": "response.create", ...}.')
    lane = frame.get("stream_id", "")
    if lane and not (isinstance(lane, str) and _LANE.fullmatch(lane)):
        raise InputError("The stream_id is impossible.", hint="Use letters, digits, '_', '.' and '-', at most 256.")
    return frame

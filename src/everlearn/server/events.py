"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from everlearn.errors import EverlearnError
from everlearn.server.faults import told

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
KEEPALIVE_SECONDS = 15.0
DONE = "data: [DONE]\n\n"


def streamed(chunks: AsyncIterator[dict[str, Any]], *, named: bool = False, end: str = DONE) -> StreamingResponse:
    """A response that streams chunks as events.

    Args:
        chunks: each an object.
        named: events carry the chunk's `type` as their name.
        end: what comes behind the last one.
    """
    return StreamingResponse(events_of(chunks, named=named, end=end), media_type="text/event-stream", headers=HEADERS)


async def events_of(
    chunks: AsyncIterator[dict[str, Any]], *, named: bool = False, end: str = DONE
) -> AsyncIterator[str]:
    """Events of chunks, with comments that keep the connection open while nothing comes.

    An error ends the stream with an event that holds it, and without `end`.
    """
    upcoming = asyncio.ensure_future(anext(chunks))
    try:
        while True:
            ready, _ = await asyncio.wait({upcoming}, timeout=KEEPALIVE_SECONDS)
            if not ready:
                yield ": keepalive\n\n"
                continue
            try:
                chunk = upcoming.result()
            except StopAsyncIteration:
                if end:
                    yield end
                return
            except EverlearnError as error:
                yield f"data: {json.dumps(told(error))}\n\n"
                return
            name = f"event: {chunk['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
            upcoming = asyncio.ensure_future(anext(chunks))
    finally:
        upcoming.cancel()
        close = getattr(chunks, "aclose", None)
        if close is not None and upcoming.done():
            await close()

"""The studio's client over a toy server in this process: real routes, real learning, no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from everlearn import wiring
from everlearn.server.app import create_app
from everlearn.server.room import ServerSettings
from everlearn.studio.client import Api, Server
from toys import toy_parts


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def with_api(home) -> Callable[..., None]:
    """Run a coroutine function that takes the API of a fresh server."""

    def ran(work: Callable[[Api], Awaitable[None]], *, key: str = "", **how) -> None:
        asyncio.run(_run(work, key, how))

    @asynccontextmanager
    async def opened(how) -> AsyncIterator[Server]:
        room = wiring.server_room(wiring.load_settings(home=home), toy_parts(), replace(ServerSettings(), **how))
        app = create_app(room)
        server = Server("http://studio.test", httpx.ASGITransport(app))
        async with app.router.lifespan_context(app):
            try:
                yield server
            finally:
                await server.close()

    async def _run(work, key, how) -> None:
        async with opened(how) as server:
            await work(server.as_caller(key))

    return ran

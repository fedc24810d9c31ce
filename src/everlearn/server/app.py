"""The app: routes behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from everlearn.records import DEFAULT_TENANT
from everlearn.server import (
    alerts,
    audit_routes,
    batches,
    chat,
    files,
    fine_tuning,
    health,
    job_routes,
    lessons,
    map_routes,
    mcp,
    moderations,
    openai_rest,
    policies,
    preferences,
    response_socket,
    responses,
    tables,
    teaching,
    vllm_routes,
)
from everlearn.server.api_schema import RESPONSES, describe
from everlearn.server.faults import add_handlers
from everlearn.server.filters import watch_lessons
from everlearn.server.gatekeeper import LOOPBACK, Gatekeeper
from everlearn.server.room import VERSION, Room
from everlearn.server.tenants import Tenant

_SUMMARY = (
    "A language model that keeps learning after it is deployed: OpenAI-compatible, and teachable while it answers."
)
_PARTS = (
    *(health, openai_rest, chat, responses, response_socket, moderations),
    *(files, batches, fine_tuning),
    *(lessons, map_routes, tables, teaching, preferences, job_routes),
    *(vllm_routes, audit_routes, alerts, policies, mcp),
)


def create_app(room: Room) -> FastAPI:
    """The whole API over the parts of a server, which are closed with it.

    Whoever runs the app may set `state.ending`, which says whether it is to stop: streams without an end then end.
    Without any key it is open to all, which is for loopback only: `serve` sees to that.
    """

    def resume(tenant: Tenant) -> None:
        batches.resume(room, tenant)
        fine_tuning.resume(room, tenant)

    room.tenants.when_opened += [partial(watch_lessons, room), resume]

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(room.tenants.get, DEFAULT_TENANT)
        yield
        await run_in_threadpool(_close, room)

    app = FastAPI(
        title="everlearn",
        version=VERSION,
        summary=_SUMMARY,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        responses=RESPONSES,
        # FastAPI would look for providers of the whole process, and tell them what was sent.
        telemetry=room.traces.telemetry if room.traces else {"tracing": False, "metrics": False, "logs": False},
    )
    app.state.room = room
    app.state.ending = lambda: False
    for part in _PARTS:
        app.include_router(part.router)
    add_handlers(app)
    describe(app)
    app.add_middleware(
        Gatekeeper,
        keys=room.keys,
        open_to_all=room.settings.host in LOOPBACK,
        limits=room.limits,
        metrics=room.metrics,
        most_bytes=room.settings.most_bytes,
        most_seconds=room.settings.most_seconds,
        audit=room.audited,
        pages=room.settings.cors,
    )
    if room.settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(room.settings.cors), allow_methods=["*"], allow_headers=["*"]
        )
    return app


def _close(room: Room) -> None:
    room.jobs.close()
    room.answering.close()
    room.tenants.close()
    if room.traces is not None:
        room.traces.close()

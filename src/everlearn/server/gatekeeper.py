"""What every request passes: an id, a limit of its size, the key, the rate, and the count.

Written against ASGI itself: middleware that wraps the response would keep a disconnect from reaching a running answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, final
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from everlearn.errors import AccessError, EverlearnError, OverloadedError, UnknownKeyError
from everlearn.records import DEFAULT_TENANT
from everlearn.server.caller import CALLER, SCOPES, Caller, GoneError, enter
from everlearn.server.deed import Deed, is_deed, target_of
from everlearn.server.faults import body_of, reply_to
from everlearn.server.keys import KeyRing
from everlearn.server.limits import RateLimits
from everlearn.server.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health", "/health/live", "/health/ready", "/ready", "/ping", "/version"})
PAGES = "/studio"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = logging.getLogger("everlearn.access")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LOCAL = Caller(DEFAULT_TENANT, frozenset(SCOPES))


@final
class TooLargeError(HTTPException):
    """More bytes came than a body may have. A kind that whoever reads the body lets through."""

    code = "request_too_large"

    def __init__(self, most: int) -> None:
        super().__init__(413, f"The body has more than {most:,} bytes.")


@final
class TooSlowError(HTTPException):
    """A body did not come in time."""

    code = "request_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(408, f"The body was not here within {seconds:g} seconds.")


@final
class Gatekeeper:
    """ASGI middleware around the whole app.

    Args:
        app: what is behind the gate.
        keys: who may come in.
        open_to_all: no key is needed: only where the server listens on loopback and no key was made.
        limits: how often.
        metrics: counts.
        most_bytes: of a request's body.
        most_seconds: until it has to be here.
        audit: notes what was done.
        pages: origins of pages that may call without a key.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        keys: KeyRing,
        open_to_all: bool,
        limits: RateLimits,
        metrics: Metrics,
        most_bytes: int,
        most_seconds: float,
        audit: Callable[[Deed], None],
        pages: Collection[str] = (),
    ) -> None:
        self._pages = frozenset(pages)
        self._app, self._keys, self._open, self._audit = app, keys, open_to_all, audit
        self._limits, self._metrics, self._most, self._seconds = limits, metrics, most_bytes, most_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun, headers = time.perf_counter(), dict(scope["headers"])
        wanted = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else f"req_{uuid4().hex}"
        scope["everlearn.request_id"] = request_id
        status = 499  # the client was gone before anything was sent
        extra: dict[str, str] = {"x-request-id": request_id}

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra["openai-processing-ms"] = str(round((time.perf_counter() - begun) * 1000))
                named = [(k.encode(), v.encode()) for k, v in extra.items()]
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        try:
            scope[CALLER] = caller = self._admitted(scope, headers, extra)
            enter(caller.key_id, request_id)
            limited = self._limited(receive) if scope["type"] == "http" else receive
            await self._app(scope, limited, tell)
        except EverlearnError as error:
            await self._refuse(scope, receive, tell, error)
        except (TooLargeError, TooSlowError) as error:
            await _reply(tell, error.status_code, error.detail, error.code)
        except GoneError:
            return  # it shows in the log and the metrics as 499
        except Exception:
            _log.exception("request %s failed", request_id)
            if status == 499:
                await _reply(tell, 500, f"The server failed; its log names request {request_id}.", "internal_error")
            else:
                raise
        finally:
            if scope["type"] == "http" and not _is_page(scope):
                route = getattr(scope.get("route"), "path", "unknown")
                seconds = time.perf_counter() - begun
                self._metrics.request(scope["method"], route, status, seconds)
                await self._noted(scope, route, status)
                _log.info("%s %s %s %d %.1f ms", request_id, scope["method"], route, status, seconds * 1000)

    async def _noted(self, scope: MutableMapping[str, Any], route: str, status: int) -> None:
        """Note what was done; the answer to it is on its way already."""
        caller, request_id = scope.get(CALLER), scope["everlearn.request_id"]
        if caller is None or not is_deed(scope["method"], route):
            return
        deed = Deed(caller, f"{scope['method']} {route}", target_of(scope), status, request_id)
        try:
            await run_in_threadpool(self._audit, deed)
        except EverlearnError:
            _log.exception("request %s is not in the audit log", request_id)

    def _admitted(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], extra: dict[str, str]) -> Caller:
        """The caller, if the key is known, the rate is kept and the body is not too large."""
        caller = self._caller(scope, headers)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._most:
            raise TooLargeError(self._most)
        if scope["path"] not in OPEN and not _is_page(scope):
            extra.update(self._limits.take_request(caller))
        return caller

    def _caller(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> Caller:
        if scope["path"] in OPEN:
            return Caller(DEFAULT_TENANT, frozenset())
        kind, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if kind.lower() == "bearer" and secret.strip() and (caller := self._keys.caller(secret.strip())):
            return caller
        if self._open and not self._keys.all():
            self._check_page(headers)
            return LOCAL
        if not scope["path"].startswith(("/v1", "/metrics", "/openapi.json")) and not secret:
            return Caller(DEFAULT_TENANT, frozenset())  # pages that show nothing of anybody; their calls carry a key
        raise UnknownKeyError(
            "No known API key was given." if secret else "This server needs an API key.",
            hint="Send it as: Authorization: Bearer sk-el-...",
        )

    def _check_page(self, headers: dict[bytes, bytes]) -> None:
        """Without a key a page of the web must not reach the server of whoever looks at it."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and urlsplit(origin).hostname not in LOOPBACK and origin not in self._pages:
            raise AccessError(
                f"A page of {origin} may not call this server.", hint="Name it with --cors, or use a key."
            )

    def _limited(self, receive: Receive) -> Receive:
        """Receive no more bytes than a body may have, and wait no longer for them than it may take."""
        taken, whole = 0, False
        ends = time.monotonic() + self._seconds

        async def counted() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError as cause:
                raise TooSlowError(self._seconds) from cause
            taken += len(message.get("body", b""))
            if taken > self._most:
                raise TooLargeError(self._most)
            whole = not message.get("more_body", False)
            return message

        return counted

    async def _refuse(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, error: EverlearnError
    ) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": error.message[:120]})
            return
        if isinstance(error, OverloadedError):
            self._metrics.refused("rate")
        await reply_to(error)(scope, receive, send)


def _is_page(scope: MutableMapping[str, Any]) -> bool:
    """A part of the studio's page: what it does is asked of the API, and counted and limited there."""
    return scope["path"] == PAGES or bool(scope["path"].startswith(f"{PAGES}/"))


async def _reply(send: Send, status: int, message: str, code: str) -> None:
    body = json.dumps(body_of(status, message, code=code)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Errors as OpenAI's clients expect them: a status, and a body with message, type, param and code."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from everlearn.errors import (
    AccessError,
    ConflictError,
    ContentFilterError,
    DeadlineError,
    EverlearnError,
    FilterUnavailableError,
    InputError,
    NotFoundError,
    OverloadedError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    UnknownKeyError,
)

_STATUS: tuple[tuple[type[EverlearnError], int], ...] = (
    (UnknownKeyError, 401),
    (AccessError, 403),
    (OverloadedError, 429),
    (NotFoundError, 404),
    (ConflictError, 412),  # not 409, which OpenAI's clients send again by themselves
    (InputError, 400),
    (StoreFullError, 507),
    (StoreError, 503),  # busy, read-only or damaged: nothing that the caller could mend
    (FilterUnavailableError, 503),
    (DeadlineError, 504),
    (EverlearnError, 500),
)
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    400: "invalid_body",
    404: "unknown_url",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
}
RETRY_SECONDS = 1


def status_of(error: EverlearnError) -> int:
    """The HTTP status of an error."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def body_of(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def reply_to(error: EverlearnError) -> JSONResponse:
    """The response to an error that was raised on purpose."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, OverloadedError | StoreBusyError):
        wait = error.retry_after if isinstance(error, OverloadedError) else RETRY_SECONDS
        headers["retry-after"] = str(max(1, round(wait)))
    elif isinstance(error, StoreError):
        headers["x-should-retry"] = "false"  # OpenAI's clients would send it twice more at once
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(told(error), status, headers)


def told(error: EverlearnError) -> dict[str, Any]:
    """The body of an error that was raised on purpose; of a filter it names what was found, in Azure's form."""
    body = body_of(status_of(error), str(error), code=error.code, param=getattr(error, "param", None))
    if isinstance(error, ContentFilterError):
        found = {name: {"filtered": True, "detected": True} for name in error.categories}
        inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": found}
        body["error"] |= {"param": body["error"]["param"] or "prompt", "innererror": inner}
    return body


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app leave it in this form."""
    app.add_exception_handler(EverlearnError, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)


async def _known(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EverlearnError)
    return reply_to(error)


async def _malformed(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: Mapping[str, Any] = error.errors()[0]
    place = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path", "header")]
    no_json = first.get("type") == "json_invalid"
    param = None if no_json else ".".join(place) or None
    said = str(first.get("msg", "malformed"))
    message = f"{param}: {said}." if param else f"The body is no JSON{'' if no_json else ' object'}: {said}."
    return JSONResponse(body_of(400, message, code="invalid_value", param=param), 400)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    message = str(error.detail) if error.detail and error.detail != phrase else f"{phrase}."
    code = _CODES.get(error.status_code)
    return JSONResponse(body_of(error.status_code, message, code=code), error.status_code, error.headers)

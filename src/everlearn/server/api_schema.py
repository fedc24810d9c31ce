"""What the API's own description says of errors: every route may answer with them, all in one form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_MEANINGS = {
    400: "The request cannot be used as it is; `param` names the field where one is at fault.",
    401: "No key was given, or none that is known.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    405: "The route does not know this method.",
    408: "The body did not come in time.",
    412: "It contradicts what is there: another lesson, a newer version, something that has ended.",
    413: "The body is too large.",
    429: "More is asked than can be answered now; `retry-after` says when to come back.",
    500: "The server failed; its log names the request.",
    503: "The store is busy (`retry-after` says when to come back), or cannot be written or read.",
    504: "The answer was not there in time.",
    507: "The disk is full; nothing of the request was kept.",
}


class Fault(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class FaultBody(BaseModel):
    """The body of every error, as OpenAI's clients expect it."""

    error: Fault


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": FaultBody, "description": meaning} for status, meaning in _MEANINGS.items()
}


Responses = dict[int | str, dict[str, Any]]
BYTES: Responses = {200: {"content": {"application/octet-stream": {}, "application/zip": {}}}}
TEXT: Responses = {200: {"content": {"text/plain": {}}}}
EVENTS: Responses = {200: {"content": {"text/event-stream": {}}}}


def describe(app: FastAPI) -> None:
    """Let an app describe itself without FastAPI's own form of errors, which nothing here answers with."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            for operations in schema["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
            schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}, {}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]

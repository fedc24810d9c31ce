"""Who asks: tenant, rights and key of a request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, cast, final

from starlette.requests import HTTPConnection

from everlearn.errors import AccessError

Scope = Literal["ask", "teach", "admin"]
SCOPES: tuple[Scope, ...] = ("ask", "teach", "admin")
CALLER = "everlearn.caller"


class GoneError(Exception):
    """The client went away before it was answered. Internal: nobody is there to be told."""


@final
@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        tenant: whose lessons are asked and taught; nothing of another tenant can be reached.
        scopes: what may be done: "ask", "teach" (and forget), "admin" (tables, adapters, sleep, whole tenant).
        key_id: of the key, or empty where none is needed.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str = ""

    def need(self, scope: Scope) -> None:
        """Raise AccessError where a right is missing."""
        if scope not in self.scopes:
            raise AccessError(
                f"This key may not {scope}.", hint=f"Use a key with the scope {scope!r} (`everlearn keys create`)."
            )


# Of the request that is being handled: for what is noted far from the route. Empty in jobs, which outlive it.
_KEY = ContextVar("everlearn_key", default="")
_REQUEST = ContextVar("everlearn_request", default="")


def enter(key_id: str, request_id: str) -> None:
    """Say which request is being handled from here on, in this task and what it starts."""
    _KEY.set(key_id)
    _REQUEST.set(request_id)


def current_key() -> str:
    """Id of the key of the request that is being handled, or empty."""
    return _KEY.get()


def current_request() -> str:
    """Id of the request that is being handled, or empty."""
    return _REQUEST.get()


def caller_of(connection: HTTPConnection) -> Caller:
    """Who sent the request, as the gatekeeper found."""
    return cast(Caller, connection.scope[CALLER])


def may(scope: Scope) -> Callable[[HTTPConnection], Caller]:
    """A dependency of a route: the caller, who has to have this right."""

    def needed(connection: HTTPConnection) -> Caller:
        caller = caller_of(connection)
        caller.need(scope)
        return caller

    return needed

"""The same request with the same Idempotency-Key is done once, and answered alike."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Annotated, Any, final

from fastapi import Header
from starlette.requests import HTTPConnection

from everlearn.errors import ConflictError
from everlearn.server.caller import caller_of

Outcome = tuple[int, dict[str, Any]]
_KEPT = 10_000


@final
class Replies:
    """Replies by tenant and key, the newest 10,000, while the server runs.

    Teaching the same lesson twice is known for what it is by the store itself; this spares the work and tells clients
    that send a request again what they were told the first time.
    """

    def __init__(self) -> None:
        self._replies: OrderedDict[tuple[str, str], tuple[str, Outcome | None]] = OrderedDict()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def run(self, name: tuple[str, str], digest: str, work: Callable[[], Outcome]) -> Outcome:
        """Do the work, unless it was done under this name.

        Raises:
            ConflictError: another request had this key, or what was taught under it is forgotten.
        """
        with self._lock:
            own = self._locks.setdefault(name, threading.Lock())
        try:
            with own:
                if name in self._replies:
                    known, outcome = self._replies[name]
                    if known != digest:
                        raise ConflictError(
                            "This Idempotency-Key was used for another request.", hint="Use a new key for each request."
                        )
                    if outcome is None:
                        raise ConflictError("What this request taught was forgotten.", hint="Teach it under a new key.")
                    return outcome
                outcome = work()
                self._replies[name] = (digest, outcome)
                while len(self._replies) > _KEPT:
                    self._replies.popitem(last=False)
                return outcome
        finally:
            with self._lock:
                self._locks.pop(name, None)

    def forget(self, tenant: str, ids: Collection[str]) -> None:
        """Drop replies that quote lessons; their requests are not done again, either."""
        gone = frozenset(ids)
        for name, (digest, outcome) in list(self._replies.items()):
            if name[0] == tenant and outcome is not None and not gone.isdisjoint(_lessons_in(outcome[1])):
                self._replies[name] = (digest, None)


def _lessons_in(body: dict[str, Any]) -> list[str]:
    """Ids of the lessons that a reply quotes."""
    return [row["id"] for row in body.get("data", [body]) if "id" in row]


@final
class Idempotency:
    """What a request says of being done once.

    Args:
        replies: of the server.
        tenant: whose key it is.
        key: of the request; empty = it is simply done.
    """

    def __init__(self, replies: Replies, tenant: str, key: str) -> None:
        self._replies, self._tenant, self._key = replies, tenant, key

    def run(self, body: object, work: Callable[[], Outcome]) -> Outcome:
        """Do the work once."""
        if not self._key:
            return work()
        digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
        return self._replies.run((self._tenant, self._key), digest, work)


def idempotency_of(
    connection: HTTPConnection, idempotency_key: Annotated[str | None, Header(max_length=255)] = None
) -> Idempotency:
    """A dependency of routes that write."""
    return Idempotency(connection.app.state.room.replies, caller_of(connection).tenant, idempotency_key or "")

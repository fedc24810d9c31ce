"""What is noted in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from everlearn.server.caller import Caller

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
# Asking changes nothing; how much is asked is in the metrics.
_ASKS = (
    "/v1/chat/",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/responses",
)
_MOST = 200


@final
@dataclass(frozen=True, slots=True)
class Deed:
    """A request that changed something, or was not let to.

    Attributes:
        caller: who sent it.
        action: method and route.
        target: ids in its path.
        status: as it was answered.
        request_id: of the request.
    """

    caller: Caller
    action: str
    target: str
    status: int
    request_id: str


def is_deed(method: str, route: str) -> bool:
    """Whether a request is one to note."""
    return method not in _READS and not route.startswith(_ASKS)


def target_of(scope: Mapping[str, Any]) -> str:
    """The ids in the path of a request; no text of anybody can be in them, a path that is no route has none."""
    return " ".join(str(value) for value in scope.get("path_params", {}).values())[:_MOST]

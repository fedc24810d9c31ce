"""What the routes work with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, cast, final

from starlette.requests import HTTPConnection

from everlearn.safety.policy import Policy
from everlearn.safety.screen import Screen
from everlearn.server.answer_cache import AnswerCache
from everlearn.server.answering import Answering
from everlearn.server.caller import Caller, caller_of
from everlearn.server.deed import Deed
from everlearn.server.idempotency import Replies
from everlearn.server.jobs import Jobs
from everlearn.server.keys import KeyRing
from everlearn.server.lesson_map import LessonMaps
from everlearn.server.limits import RateLimits, Rates
from everlearn.server.metrics import Metrics
from everlearn.server.tenants import Tenant, Tenants

if TYPE_CHECKING:
    from everlearn.server.traces import Traces

VERSION = version("everlearn")


@final
@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server goes.

    Attributes:
        host: address to listen on; beyond loopback a key has to exist.
        port: to listen on; 0 = any free one.
        most_bytes: of a request's body.
        most_seconds: until the body of a request has to be here.
        most_waiting: answers that may wait to begin; further ones get 429.
        deadline: seconds after which an answer is given up.
        give_way: share of the time that learning in the background takes at most while answers are under way; 1 = all.
        answer_cache: answers of each tenant that are given again to the very same request; 0 = none.
        keep_turns: keep question and answer with each receipt, so that it can be explained and corrected later.
        teach_in_chat: messages such as "Remember: ..." and "No, it is ..." teach, where the key may teach.
        cors: origins of pages that may call the server.
        rates: limits of each key.
        policy: what is filtered in tenants that have not said so themselves.
        traces: send spans to OpenTelemetry's collector.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    most_bytes: int = 20_000_000
    most_seconds: float = 60.0
    most_waiting: int = 64
    deadline: float = 600.0
    give_way: float = 0.1
    answer_cache: int = 0
    keep_turns: bool = True
    teach_in_chat: bool = True
    cors: tuple[str, ...] = ()
    rates: Rates = field(default_factory=Rates)
    policy: Policy = field(default_factory=Policy)
    traces: bool = False


@final
@dataclass(frozen=True, slots=True)
class Room:
    """The parts of a running server."""

    settings: ServerSettings
    tenants: Tenants
    answering: Answering
    keys: KeyRing
    limits: RateLimits
    metrics: Metrics
    jobs: Jobs
    cache: AnswerCache
    replies: Replies
    screen: Screen
    maps: LessonMaps = field(default_factory=LessonMaps)
    traces: Traces | None = None

    def tenant(self, caller: Caller) -> Tenant:
        """The state of the caller's tenant."""
        return self.tenants.get(caller.tenant)

    def forgot(self, tenant: str, ids: Collection[str]) -> None:
        """Lessons were forgotten: count them, and keep no reply that quotes one."""
        self.metrics.forgot(len(ids))
        self.replies.forget(tenant, ids)

    def audited(self, deed: Deed) -> None:
        """Note in a tenant's log what was done in it."""
        audit = self.tenants.get(deed.caller.tenant).audit
        audit.add(deed.caller.key_id, deed.action, deed.target, deed.status, deed.request_id)


def room_of(connection: HTTPConnection) -> Room:
    """The room of the app that a request came to: a dependency of routes."""
    return cast(Room, connection.app.state.room)


def tenant_of(connection: HTTPConnection) -> Tenant:
    """The state of the caller's tenant: a dependency of routes."""
    return room_of(connection).tenant(caller_of(connection))

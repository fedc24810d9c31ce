"""Who waits for an answer, and who is next."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from everlearn.engine.engine import Engine
from everlearn.engine.prompt import AsOf
from everlearn.engine.ticket import Ticket
from everlearn.records import Message, Sampling


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, as `Engine.answer` takes it; `expires` in seconds of `time.monotonic`, None = never."""

    ticket: Ticket
    engine: Engine
    messages: Sequence[Message]
    tables: Sequence[str] | None
    sampling: Sampling
    adapter: str | None
    as_of: AsOf
    expires: float | None


@final
class FairQueue:
    """Requests of several tenants.

    Next is the tenant with the fewest answers under way; of equals, who waited longest for their turn. Within a tenant
    the first comes first. So somebody with fifty waiting requests holds others up by no more than one answer at each
    place of the batch.
    """

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, deque[Request]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(each) for each in self._tenants.values())

    def of(self, tenant: str) -> int:
        """How many requests of a tenant wait."""
        return len(self._tenants.get(tenant, ()))

    def put(self, request: Request) -> None:
        """Let a request wait."""
        self._tenants.setdefault(request.ticket.tenant, deque()).append(request)

    def take(self, under_way: Mapping[str, int]) -> Request | None:
        """The next request, which waits no more; None where nobody waits.

        Args:
            under_way: tenant -> answers that are being prepared, read or decoded.
        """
        if not self._tenants:
            return None
        tenant = min(self._tenants, key=lambda name: under_way.get(name, 0))  # the first of equals
        waiting = self._tenants[tenant]
        request = waiting.popleft()
        self._tenants.move_to_end(tenant)
        if not waiting:
            del self._tenants[tenant]
        return request

    def drop(self, wanted: Callable[[Request], bool]) -> list[Request]:
        """Take out those requests that are `wanted`, wherever they stand."""
        dropped: list[Request] = []
        for tenant, waiting in list(self._tenants.items()):
            found = [each for each in waiting if wanted(each)]
            if found:
                dropped += found
                kept = deque(each for each in waiting if each not in found)
                if kept:
                    self._tenants[tenant] = kept
                else:
                    del self._tenants[tenant]
        return dropped

    def first_expiry(self) -> float | None:
        """When the first of the waiting requests expires; None = none does."""
        times = [each.expires for waiting in self._tenants.values() for each in waiting if each.expires is not None]
        return min(times, default=None)

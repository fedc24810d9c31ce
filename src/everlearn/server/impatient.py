"""HTTP connections that do not wait for ever for whoever sends a byte now and then."""

from __future__ import annotations

import asyncio
from typing import Any, final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0
REST_SECONDS = 5.0  # for what still comes of a request that was answered: closed at once, the answer might not arrive


@final
class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol, which by itself limits how long a connection is idle, not how long something may take.

    Without it a byte now and then would hold a connection for ever: before the head of a request is whole, and behind
    an answer that was given before its body was (a body has a time of its own in the gatekeeper).
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 -- of asyncio
        """A connection was opened."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Run the clock while something is awaited, from its begin."""
        seconds = self._patience()
        if seconds is None:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(seconds, self._late)

    def _patience(self) -> float | None:
        """Seconds that what comes now may take; None = no limit here."""
        if self.conn.their_state is h11.IDLE:
            return HEAD_SECONDS
        answered = self.cycle is not None and self.cycle.response_complete
        return REST_SECONDS if answered and self.conn.their_state is h11.SEND_BODY else None

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self._patience() is not None:
            self.transport.close()

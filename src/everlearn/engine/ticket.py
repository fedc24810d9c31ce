"""A ticket: what somebody holds who waits for an answer of the batcher."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

from everlearn.errors import EverlearnError
from everlearn.records import Answer, TokenLogprob
from everlearn.store.ids import new_id

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a running answer; the texts of all pieces join to the answer's.

    Attributes:
        text: what can no longer change; may be empty where only probabilities are told.
        tokens: probabilities of the tokens since the piece before, where they were asked for.
    """

    text: str
    tokens: tuple[TokenLogprob, ...] = ()


Said = Piece | Answer | EverlearnError
Listener = Callable[[Said], None]


@final
class Ticket:
    """One request to the batcher. All methods may be called from any thread, and by several.

    Args:
        tenant: who asks.
        wake: called when the ticket is cancelled.

    Attributes:
        id: of the request.
        asked_at: when, in seconds of `time.monotonic`.
        taken_at: since when it is worked on.
    """

    def __init__(self, tenant: str, wake: Callable[[], None]) -> None:
        self.id = new_id()
        self.tenant = tenant
        self.asked_at = self.taken_at = time.monotonic()
        self._wake = wake
        self._said: list[Said] = []
        self._changed = threading.Condition()
        self._listeners: list[Listener] = []
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants no more of it."""
        return self._cancelled.is_set()

    @property
    def done(self) -> bool:
        """Whether the answer, or the error in its place, is there."""
        return bool(self._said) and not isinstance(self._said[-1], Piece)

    def pieces(self) -> Iterator[Piece]:
        """The answer piece by piece, from its begin, as it comes.

        Raises:
            EverlearnError: what kept it from being finished.
        """
        place = 0
        while True:
            with self._changed:
                while len(self._said) <= place:
                    self._changed.wait()
                said = self._said[place]
            place += 1
            if not isinstance(said, Piece):
                if isinstance(said, EverlearnError):
                    raise said
                return
            yield said

    def answer(self) -> Answer:
        """Wait for the whole answer. A cancelled one has what was said so far.

        Raises:
            DeadlineError: it was not there in time.
            FaultError: the model failed.
            EverlearnError: what else kept it from being finished, as by `Engine.answer`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.done)
            said = self._said[-1]
        if isinstance(said, EverlearnError):
            raise said
        assert isinstance(said, Answer)
        return said

    def cancel(self) -> None:
        """End the answer before its next token, or before it is begun; its place becomes free."""
        self._cancelled.set()
        self._wake()

    def listen(self, callback: Listener) -> None:
        """Have every piece told, and at last the answer or error; first what was said already, in this thread.

        Args:
            callback: called from the batcher's thread; it must not block. One that raises is not called again.
        """
        with self._changed:
            for said in self._said:
                callback(said)
            if not self.done:
                self._listeners.append(callback)

    def tell(self, said: Said) -> None:
        """For the batcher: one more piece, or the end. After the end nothing more is taken."""
        with self._changed:
            if self.done:
                return
            self._said.append(said)
            self._changed.notify_all()
            for listener in list(self._listeners):
                try:
                    listener(said)
                except Exception:  # noqa: BLE001 -- it is the listener's fault, and the batch goes on
                    _log.exception("A listener of an answer failed and is not called again.")
                    self._listeners.remove(listener)

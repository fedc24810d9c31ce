"""A conversation: its messages, and an attention cache that is kept between turns.

The cache is a function of the conversation's tokens and of nothing else. A turn that a correction touched is cut from
the cache when it ends, and its tokens are read again, uncorrected, with the next turn; so are lessons that were read
with a question, and the next turn is read without them. So a lesson that is taught or
forgotten while a conversation runs takes effect at the next question and leaves no trace in any cache
(docs/decisions/0004).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import final

from everlearn.engine.answering import Answerer
from everlearn.engine.begun import Begun
from everlearn.engine.held import Held
from everlearn.engine.prompt import AsOf, moment
from everlearn.engine.stream import Stream
from everlearn.errors import ConversationError, StoreError
from everlearn.models.window import RollingWindow
from everlearn.records import Answer, Message, Sampling, Turn
from everlearn.store.ids import new_id
from everlearn.text.clean import MAX_MESSAGE_CHARACTERS, checked

_log = logging.getLogger(__name__)


@final
class Session:
    """A conversation with an engine. One thread at a time.

    Args:
        answerer: who answers.
        system: system message, or "".
        tables: look-up tables to ask; None = all; () = none. May be changed between turns.
        sampling: for turns that name none.
        adapter: as for `Engine.answer`. May be changed between turns.
        as_of: answer as of this moment; None = now. May be changed between turns.
        window: makes the conversation endless: the cache holds so much and no more, what is older is dropped.
            None = the conversation ends where the model's context does.

    Attributes:
        own_tables: tables of this conversation alone, asked besides `tables`.

    Raises:
        SettingsError: `as_of` is no moment.
    """

    def __init__(
        self,
        answerer: Answerer,
        *,
        system: str = "",
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        adapter: str | None = None,
        as_of: AsOf = None,
        window: RollingWindow | None = None,
    ) -> None:
        self.id = new_id()
        self.window = window
        self.own_tables: tuple[str, ...] = ()
        self.tables = tables
        self.adapter = adapter
        self.as_of: AsOf = moment(as_of)
        self.messages: list[Message] = []
        if system:
            text = checked(system, what="The system message", limit=MAX_MESSAGE_CHARACTERS, error=ConversationError)
            self.messages.append(Message("system", text))
        self.last: Answer | None = None
        self.last_turn = ""
        self._answerer = answerer
        self._open = False
        self._sampling = sampling or Sampling()
        self._held: list[Held] = []  # the newest first; two only where the conversation has a window
        self._worn: str | None = None  # adapter that they were computed with
        self._departed = 0  # messages that are known to have left the window

    @property
    def cached_tokens(self) -> int:
        """Tokens that the cache holds."""
        return self._held[0].cache.lengths[0] if self._held else 0

    @property
    def cached_bytes(self) -> int:
        """Bytes of keys and values; two caches may share some."""
        return max((held.cache.nbytes for held in self._held), default=0)

    def say(self, text: str, *, sampling: Sampling | None = None) -> Answer:
        """Say something and get the whole answer. When it is interrupted, the turn did not happen."""
        begun = self.begin(text, sampling)
        try:
            answer = self._answerer.finish_together([begun])[0]
        except BaseException:  # also Ctrl-C
            self.abandon()
            raise
        self.end(begun, answer)
        return answer

    def stream(self, text: str, *, sampling: Sampling | None = None) -> Stream:
        """Say something and get the answer piece by piece. The turn counts once the stream has ended or was closed."""
        begun = self.begin(text, sampling)
        return self._answerer.streamed(begun, lambda answer: self.end(begun, answer))

    def undo(self) -> bool:
        """Take back the last turn; False where there is none.

        Raises:
            ConversationError: an answer is still running.
        """
        self._check_idle()
        if not any(m.role == "assistant" for m in self.messages):
            return False
        del self.messages[-2:]
        self._departed = min(self._departed, len(self.messages))
        self.last, self.last_turn = None, ""
        return True

    def begin(self, text: str, sampling: Sampling | None = None) -> Begun:
        """Read the user's next message; `end` has to follow."""
        self._check_idle()
        content = checked(text, what="The message", limit=MAX_MESSAGE_CHARACTERS, error=ConversationError)
        talk = [*self.messages, Message("user", content)]
        recall = self._answerer.recall([talk], self._asked(), self.as_of, self.window)[0]
        held, self._held = self._held, []  # if reading fails half-way the cache counts as empty
        worn = self._answerer.adapter_for(talk, recall, self.adapter)
        if worn != self._worn:
            held, self._worn = [], worn
        begun = self._answerer.begin(
            talk, recall, sampling or self._sampling, held=held, adapter=worn, window=self.window
        )
        self.messages, self._open = talk, True
        self._held = [begun.clean] if begun.clean else []
        return begun

    def end(self, begun: Begun, answer: Answer) -> None:
        """Take the answer into the conversation and keep the turn in the store."""
        self._open = False
        self._keep(begun)
        question = self.messages[-1].content
        self.messages.append(Message("assistant", answer.text))
        self.last, self.last_turn = answer, new_id()
        self._keep_turn(Turn(self.last_turn, self.id, question, answer.text, answer.receipt, datetime.now(UTC)))

    def abandon(self) -> None:
        """Take back what `begin` did; its cache may be half written."""
        self.messages, self._open = self.messages[:-1], False

    def departed(self) -> list[tuple[Message, Message]]:
        """Turns (question, answer) that have left the window, wholly or in part, since this was asked last."""
        cache = self._held[0].cache if self._held else None
        if self.window is None or cache is None or not cache.dropped[0]:
            return []
        gone, found = self.window.sinks + cache.dropped[0], []
        first = sum(m.role == "system" for m in self.messages[:1])
        while (place := first + self._departed) + 1 < len(self.messages):
            if self._answerer.text.prompt_length(self.messages[:place]) >= gone:
                break
            found.append((self.messages[place], self.messages[place + 1]))
            self._departed += 2
        return found

    def _asked(self) -> Sequence[str] | None:
        if not self.own_tables:
            return self.tables
        return [*(self._answerer.memory.open_to() if self.tables is None else self.tables), *self.own_tables]

    def _check_idle(self) -> None:
        if self._open:
            raise ConversationError("The answer before is still running.", hint="Read it to its end, or close it.")

    def _keep_turn(self, turn: Turn) -> None:
        try:
            self._answerer.memory.store.add_turn(turn)
        except StoreError as cause:
            # The answer was given; a full disk or a read-only folder must not take it back. Feedback cannot name it.
            self.last_turn = ""
            _log.warning("A turn of the conversation was not kept: %s", cause)

    def _keep(self, begun: Begun) -> None:
        """Keep of the cache what is a function of the tokens alone."""
        row = begun.row
        if row.broken:
            return
        read = (begun.prompt_ids + row.tokens)[: row.cache.read]
        kept = min(begun.plain_tokens, len(read))
        if begun.clean is not None:  # what rolled out since is gone, so cutting back would not do
            self._held = [begun.clean] if kept < len(read) else [Held(row.cache, read), begun.clean]
            return
        if kept < len(read):
            row.cache.crop(kept)
            kept = row.cache.read  # of a model with states it may be less
        self._held = [Held(row.cache, read[:kept])]

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
from everlearn.engine.prompt import AsOf, moment
from everlearn.engine.stream import Stream
from everlearn.errors import ConversationError, StoreError
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
    ) -> None:
        self.id = new_id()
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
        self._cache = answerer.model.new_cache()
        self._ids: list[int] = []  # tokens that the cache holds
        self._worn: str | None = None  # adapter that it was computed with

    @property
    def cached_tokens(self) -> int:
        """Tokens that the cache holds."""
        return len(self._ids)

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
        self.last, self.last_turn = None, ""
        return True

    def begin(self, text: str, sampling: Sampling | None = None) -> Begun:
        """Read the user's next message; `end` has to follow."""
        self._check_idle()
        content = checked(text, what="The message", limit=MAX_MESSAGE_CHARACTERS, error=ConversationError)
        talk = [*self.messages, Message("user", content)]
        recall = self._answerer.recall([talk], self.tables, self.as_of)[0]
        cached, self._ids = self._ids, []  # if reading fails half-way the cache counts as empty
        worn = self._answerer.adapter_for(talk, recall, self.adapter)
        if not cached or worn != self._worn:
            self._cache, cached, self._worn = self._answerer.model.new_cache(), [], worn
        begun = self._answerer.begin(
            talk, recall, sampling or self._sampling, cache=self._cache, cached=cached, adapter=worn
        )
        self.messages, self._open = talk, True
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
        self._ids = []

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
            self._ids = []
            return
        self._cache = row.cache
        self._ids = (begun.prompt_ids + row.tokens)[: self._cache.lengths[0]]
        kept = min(begun.plain_tokens, len(self._ids))
        if kept < len(self._ids):
            self._ids = self._ids[:kept]
            self._cache.crop(kept)

"""A row: one running answer in a batch, with its own sampler, cursor and text."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import final

from torch import Tensor

from everlearn.engine.logprobs import told
from everlearn.engine.sampling import Sampler
from everlearn.engine.wishes import Wishes
from everlearn.memory.correction import raise_target
from everlearn.memory.cursor import Cursor
from everlearn.models.cache import KeyValueCache
from everlearn.records import FinishReason, TokenLogprob
from everlearn.text.stream import TextStream


@final
class Row:
    """One running answer.

    Args:
        cache: of one row, holding the prompt.
        logits: [V] float32 behind the prompt.
        sampler: chooses tokens.
        cursor: over the entry that speaks, if any.
        text: turns tokens into text.
        stop_ids: tokens that end the answer.
        most: tokens at most.
        wishes: what the client asks of tokens besides.
    """

    def __init__(
        self,
        cache: KeyValueCache,
        logits: Tensor,
        *,
        sampler: Sampler,
        cursor: Cursor | None,
        text: TextStream,
        stop_ids: Collection[int],
        most: int,
        wishes: Wishes | None = None,
    ) -> None:
        self.cache = cache
        self.keep_cache = False  # whether someone goes on from the cache after the answer
        self.adapter: str | None = None  # that it wears
        self.logits = logits
        self.cursor = cursor
        self.tokens: list[int] = []
        self.steps_corrected = 0
        self.steps_refused = 0  # times that the grammar refused what the entry would have said
        self.logprobs: list[TokenLogprob] = []
        self.finish: FinishReason | None = None
        self.cancelled = threading.Event()
        self.broken = False  # an exception came in the middle of a step: the cache cannot be used again
        self._sampler = sampler
        self._text = text
        self._stop_ids = stop_ids
        self._most = most
        self._wishes = wishes or Wishes()

    def take(self, logits: Tensor) -> str:
        """Take the model's logits [V] for the next token, choose it, and return the text that is now certain."""
        if self.cancelled.is_set():
            return self._end("cancelled")
        token = self._choose(corrected_logits(self._sampler.penalised(logits), self.cursor))
        self._follow(token)
        self.tokens.append(token)
        if token in self._stop_ids:
            return self._end("stop")
        piece = self._text.push(token)
        if self._text.stopped:
            return piece + self._end("stop")
        return piece + self._end("length") if len(self.tokens) >= self._most else piece

    def stop(self) -> str:
        """End the answer now, as cancelled; returns the text that was held back."""
        return self._end("cancelled") if self.finish is None else ""

    def cancel(self) -> None:
        """End the answer before its next token; from any thread."""
        self.cancelled.set()

    def _choose(self, logits: Tensor) -> int:
        """Choose from corrected logits [V]: the client's bias and grammar come after what was taught."""
        wishes = self._wishes
        logits = wishes.bias.added(logits)
        if wishes.constraint is not None:
            wanted = self.cursor.target if self.cursor is not None else None
            self.steps_refused += wanted is not None and not wishes.constraint.allows(wanted)
            logits = wishes.constraint.masked(logits)
        token = self._sampler.choose(logits)
        if wishes.constraint is not None:
            wishes.constraint.advance(token)
        if wishes.logprobs is not None:
            self.logprobs.append(told(logits, token, wishes.logprobs, wishes.shown))
        return token

    def _follow(self, token: int) -> None:
        if self.cursor is None:
            return
        self.steps_corrected += self.cursor.corrects
        self.cursor.advance(token)

    def _end(self, reason: FinishReason) -> str:
        self.finish = reason
        return self._text.finish()


def corrected_logits(logits: Tensor, cursor: Cursor | None) -> Tensor:
    """Logits [V] with the output correction of the entry that speaks; the same object where none does."""
    if cursor is None or cursor.target is None or not cursor.output:
        return logits
    return raise_target(logits, cursor.target, cursor.residual)

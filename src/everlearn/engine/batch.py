"""The running batch: answers that are decoded together, each with its own cursor, adapter and sampler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch

from everlearn.engine.begun import Begun
from everlearn.engine.decode import forward
from everlearn.engine.stream import Trim
from everlearn.engine.ticket import Piece
from everlearn.engine.waiting import Request
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.models.joined import JoinedCache


@dataclass(slots=True, eq=False)
class Speaking:
    """An answer that is being decoded; `identity` is what its cache is computed with."""

    request: Request
    begun: Begun
    identity: str
    said: list[str] = field(default_factory=list)
    told: int = 0  # tokens whose probabilities went out
    trim: Trim = field(default_factory=Trim)

    @property
    def finished(self) -> bool:
        """Whether its last token is there."""
        return self.begun.row.finish is not None

    def say(self, text: str) -> Piece | None:
        """What goes out now that `text` is certain."""
        shown = self.trim(text)
        tokens = tuple(self.begun.row.logprobs[self.told :])
        if not shown and not (tokens and self.finished):
            return None
        self.said.append(shown)
        self.told += len(tokens)
        return Piece(shown, tokens)

    def stop(self) -> Piece | None:
        """End it as cancelled, where it is not finished; what was held back goes out."""
        return self.say(self.begun.row.stop())


@final
class Batch:
    """Rows over one joined cache. One thread at a time.

    Args:
        model: the base model.
    """

    def __init__(self, model: BaseModel) -> None:
        self.rows: list[Speaking] = []
        self._model = model
        self._cache = JoinedCache()

    @property
    def tokens(self) -> int:
        """Tokens of all rows in the cache."""
        return sum(self._cache.lengths)

    @property
    def nbytes(self) -> int:
        """Bytes of the joined cache."""
        return self._cache.nbytes

    def join(self, row: Speaking) -> None:
        """Take on an answer whose prompt was read and whose first token was chosen; its own cache is given up."""
        self._cache.join(row.begun.row.cache)
        row.begun.row.cache = self._model.new_cache()
        self.rows.append(row)

    def leave(self, row: Speaking) -> None:
        """Drop an answer."""
        place = self.rows.index(row)
        self._cache.leave(place)
        last = self.rows.pop()
        if place < len(self.rows):
            self.rows[place] = last
        if not self.rows:
            self._cache = JoinedCache()  # gives its memory back

    def cache_of(self, row: Speaking) -> KeyValueCache:
        """The cache of one row, copied."""
        return self._cache.row(self.rows.index(row))

    def step(self) -> list[torch.Tensor]:
        """Read the last token of each row; returns the logits [V] of the next, row by row."""
        rows = [each.begun.row for each in self.rows]
        self._cache.reserve(1)
        ids = torch.tensor([[row.tokens[-1]] for row in rows], device=self._model.device)
        logits = forward(self._model, ids, self._cache, [r.cursor for r in rows], [r.adapter for r in rows])
        return list(logits)

    def clear(self) -> list[Speaking]:
        """Drop all answers, after a step that failed half-way; returns them."""
        rows, self.rows = self.rows, []
        self._cache = JoinedCache()
        return rows

"""What keeps an answer from repeating itself, and from tokens that are not wanted, as OpenAI's clients send it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

FORBIDDEN = -100.0


@final
class Repeats:
    """Presence and frequency penalty of one answer; only generated tokens count.

    Args:
        presence: taken once from each token that was generated.
        frequency: taken for each time it was.

    Source: OpenAI's API reference, on frequency and presence penalties: logit - count * frequency
    - (count > 0) * presence.
    """

    def __init__(self, presence: float, frequency: float) -> None:
        self._presence = presence
        self._frequency = frequency
        self._counts: Counter[int] = Counter()

    def penalised(self, logits: Tensor) -> Tensor:
        """Logits [V] after the penalties; the same object where nothing changes."""
        if not self._counts or not (self._presence or self._frequency):
            return logits
        ids = torch.tensor(list(self._counts), dtype=torch.long)
        counts = torch.tensor([float(n) for n in self._counts.values()])
        out = logits.clone()
        out[ids] -= self._presence + self._frequency * counts
        return out

    def count(self, token: int) -> None:
        """Take note of a generated token."""
        if self._presence or self._frequency:
            self._counts[token] += 1


@final
class Bias:
    """What a client adds to logits.

    Args:
        bias: (token id, what to add); -100 and less forbids the token.
    """

    def __init__(self, bias: Sequence[tuple[int, float]]) -> None:
        self._ids = torch.tensor([token for token, _ in bias], dtype=torch.long)
        self._added = torch.tensor([value if value > FORBIDDEN else -torch.inf for _, value in bias])

    def added(self, logits: Tensor) -> Tensor:
        """Logits [V] with the bias; the same object where there is none. One token at least stays allowed."""
        if not len(self._ids):
            return logits
        out = logits.clone()
        out[self._ids] += self._added
        return out if bool(torch.isfinite(out).any()) else logits

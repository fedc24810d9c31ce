"""The cursor: how far a running answer has followed an entry's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from everlearn.memory.correction import Correction

PATIENCE = 16


@final
class Cursor:
    """Follows one running answer.

    It waits at the first token until the model takes it up (at a low residual the model may begin in its own manner),
    at most `PATIENCE` tokens; once under way it goes on while the answer is followed word for word, and falls silent
    when the model leaves it, so that a half-told answer is never forced into another sentence.

    Args:
        lesson_id: the entry's lesson.
        correction: the entry's value.
        residual: strength, 0..1.
        output: whether the answer's tokens are raised at the output.
    """

    def __init__(self, lesson_id: str, correction: Correction, residual: float, *, output: bool = True) -> None:
        self.lesson_id = lesson_id
        self.residual = residual
        self.output = output
        self.steps = 0
        self._correction = correction
        self._place = 0
        self._waited = 0

    @property
    def length(self) -> int:
        """Tokens of the whole answer, the stop token included."""
        return len(self._correction.tokens)

    @property
    def target(self) -> int | None:
        """The token that comes next in the entry's answer; None when the entry is silent."""
        tokens = self._correction.tokens
        return tokens[self._place] if self.residual > 0.0 and self._place < len(tokens) else None

    @property
    def corrects(self) -> bool:
        """Whether anything is changed at this step, in a block or at the output."""
        return self.target is not None and (self.output or bool(self.corrections()))

    def corrections(self) -> Mapping[int, Tensor]:
        """Block -> [D] float32, what to add at this step, already scaled by the residual; empty for nothing."""
        blocks, place = self._correction.blocks, self._place
        return {block: self.residual * steps[place] for block, steps in blocks.items() if place < len(steps)}

    def advance(self, token: int) -> None:
        """Take note of the token that was generated."""
        self.steps += 1
        if token == self.target:
            self._place += 1
        elif self._place == 0 and self._waited < PATIENCE:
            self._waited += 1
        else:
            self._place = len(self._correction.tokens)

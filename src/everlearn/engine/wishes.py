"""What a client asks of an answer's tokens besides how they are drawn: bias, form, probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from everlearn.engine.grammar import Constraint
from everlearn.engine.penalties import Bias
from everlearn.errors import SettingsError
from everlearn.records import Sampling
from everlearn.text.chat import ChatText


@dataclass(slots=True)
class Wishes:
    """Of one answer.

    Attributes:
        bias: what is added to logits.
        constraint: the form of the answer; None = free.
        logprobs: how many likeliest tokens to tell; None = tell nothing.
        shown: tokens -> text, for the probabilities.
    """

    bias: Bias = field(default_factory=lambda: Bias(()))
    constraint: Constraint | None = None
    logprobs: int | None = None
    shown: Callable[[Sequence[int]], str] = str

    @classmethod
    def of(cls, sampling: Sampling, text: ChatText, vocabulary: int) -> Wishes:
        """The wishes in checked sampling settings, for a model with `vocabulary` logits.

        Raises:
            SettingsError: a token outside the vocabulary, or a grammar that cannot be used.
        """
        for token, _ in sampling.logit_bias:
            if token >= vocabulary:
                raise SettingsError(
                    f"logit_bias names token {token}; this model's are 0 to {vocabulary - 1}.",
                    hint="Token ids are those of this model's own tokenizer.",
                )
        grammar = sampling.grammar
        constraint = Constraint(grammar, text, vocabulary) if grammar is not None else None
        return cls(Bias(sampling.logit_bias), constraint, sampling.logprobs, text.shown)

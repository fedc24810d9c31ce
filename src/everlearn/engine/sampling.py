"""How the next token is chosen. Filters come in the order of transformers' generate, and equal its own (tested)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import final, get_args

import torch
from torch import Tensor
from typing_extensions import TypeIs

from everlearn.engine.penalties import Repeats
from everlearn.errors import SettingsError
from everlearn.records import Grammar, GrammarKind, Sampling

COLDEST = 1e-3  # below it logits divided by the temperature may leave the range of float32

MOST_LOGPROBS = 20
_WHOLE = {"max_new_tokens": (1, 1_000_000), "top_k": (0, 10_000_000), "logprobs": (0, MOST_LOGPROBS)}
_OPTIONAL = ("max_new_tokens", "logprobs")
_REAL = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}


def checked(sampling: Sampling) -> Sampling:
    """Return the settings, or say which one is impossible.

    Raises:
        SettingsError: a value out of its range.
    """
    if not isinstance(sampling, Sampling):
        raise SettingsError(f"The sampling is {sampling!r}, wanted a Sampling.", hint="For example: Sampling()")
    for name, (least, most) in _WHOLE.items():
        value = getattr(sampling, name)
        if not (name in _OPTIONAL and value is None) and not (_is_whole(value) and least <= value <= most):
            raise SettingsError(
                f"{name} is {value!r}, wanted a whole number from {least} to {most:,}.", hint="0 turns top_k off."
            )
    for name, (low, high) in _REAL.items():
        value = getattr(sampling, name)
        if not _is_number(value) or not low <= value <= high:
            raise SettingsError(
                f"{name} is {value!r}, wanted {low:g} to {high:g}.", hint="0 turns temperature and top_k off."
            )
    if 0.0 < sampling.temperature < COLDEST:
        raise SettingsError(
            f"temperature is {sampling.temperature!r}, too small to divide by: wanted 0, or {COLDEST:g} to 100.",
            hint="0 always takes the likeliest token.",
        )
    if sampling.seed is not None and not _is_whole(sampling.seed):
        raise SettingsError(f"seed is {sampling.seed!r}, wanted a whole number.", hint="None draws anew each time.")
    _check_grammar(sampling.grammar)
    return dataclasses.replace(sampling, stop=_stops(sampling.stop), logit_bias=_bias(sampling.logit_bias))


def _check_grammar(grammar: object) -> None:
    if grammar is None:
        return
    kinds = get_args(GrammarKind)
    if not isinstance(grammar, Grammar) or grammar.kind not in kinds or not isinstance(grammar.source, str):
        raise SettingsError(
            f"grammar is {grammar!r}, wanted a Grammar of kind {', '.join(kinds)}.",
            hint='For example: Grammar("regex", "[0-9]+")',
        )


def _bias(bias: object) -> tuple[tuple[int, float], ...]:
    """The bias as pairs; a mapping is taken too."""
    pairs = tuple(bias.items()) if isinstance(bias, Mapping) else bias
    if not isinstance(pairs, Iterable) or isinstance(pairs, str):
        raise SettingsError(f"logit_bias is {bias!r}, wanted token ids with numbers.", hint="For example: {42: -100}")
    made: list[tuple[int, float]] = []
    for pair in pairs:
        token, value = pair if isinstance(pair, Sequence) and len(pair) == 2 else (None, None)
        if not _is_whole(token) or token < 0 or not _is_number(value) or not -100 <= value <= 100:
            raise SettingsError(
                f"logit_bias holds {pair!r}, wanted a token id and a number from -100 to 100.", hint="-100 forbids it."
            )
        made.append((token, float(value)))
    return tuple(made)


def _is_whole(value: object) -> TypeIs[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeIs[int | float]:
    return _is_whole(value) or (isinstance(value, float) and not math.isnan(value))


def _stops(stop: object) -> tuple[str, ...]:
    """The stop strings; a lone one, a list or None are taken too."""
    found = (stop,) if isinstance(stop, str) else () if stop is None else stop
    if not isinstance(found, Iterable):
        raise SettingsError(f"stop is {stop!r}, wanted strings.", hint='For example: stop=("END",)')
    stops = tuple(found)
    for each in stops:
        if not isinstance(each, str):
            raise SettingsError(f"stop holds {each!r}, wanted strings.", hint='For example: stop=("END",)')
        if not each:
            raise SettingsError("A stop string is empty.", hint="Leave it out.")
    return stops


@final
class Sampler:
    """Chooses tokens for one answer. A seed gives the same tokens alone and in a batch.

    Args:
        sampling: checked settings.
        context: [T] tokens in front of the answer; the repetition penalty counts them.
    """

    def __init__(self, sampling: Sampling, context: Sequence[int]) -> None:
        self._sampling = sampling
        self._seen = torch.tensor(sorted(set(context)), dtype=torch.long)
        self._repeats = Repeats(sampling.presence_penalty, sampling.frequency_penalty)
        self._chance = torch.Generator()
        if sampling.seed is not None:
            self._chance.manual_seed(sampling.seed % 2**63)
        else:
            self._chance.seed()

    def penalised(self, logits: Tensor) -> Tensor:
        """Logits [V] after the penalties.

        Source: repetition penalty: Keskar et al. 2019, CTRL, section 4.1 (arXiv 1909.05858).
        """
        logits = self._repeats.penalised(logits)
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0:
            return logits
        seen = logits[self._seen]
        out = logits.clone()
        out[self._seen] = torch.where(seen < 0, seen * penalty, seen / penalty)
        return out

    def choose(self, logits: Tensor) -> int:
        """Choose a token from logits [V], and remember it."""
        if self._sampling.temperature == 0.0:
            token = int(logits.argmax())
        else:
            probabilities = torch.softmax(self.filtered(logits), -1)
            token = int(torch.multinomial(probabilities, 1, generator=self._chance))
        self._repeats.count(token)
        if self._sampling.repetition_penalty != 1.0 and token not in self._seen:
            self._seen = torch.cat([self._seen, torch.tensor([token])])
        return token

    def filtered(self, logits: Tensor) -> Tensor:
        """Logits [V] after temperature, top-k, top-p and min-p; what is dropped is -inf.

        Source: top-p: Holtzman et al. 2020, section 3.1 (arXiv 1904.09751); min-p: Nguyen et al. 2024, section 3
        (arXiv 2407.01082).
        """
        s = self._sampling
        logits = logits / s.temperature
        if 0 < s.top_k < len(logits):
            logits = logits.masked_fill(logits < logits.topk(s.top_k).values[-1], -torch.inf)
        if s.top_p < 1.0:
            ascending, order = logits.sort(descending=False)
            drop = ascending.softmax(-1).cumsum(-1) <= 1.0 - s.top_p
            drop[-1] = False
            logits = logits.masked_fill(drop.scatter(0, order, drop), -torch.inf)
        if s.min_p > 0.0:
            probabilities = logits.softmax(-1)
            low = probabilities < s.min_p * probabilities.max()
            low[logits.argmax()] = False
            logits = logits.masked_fill(low, -torch.inf)
        return logits

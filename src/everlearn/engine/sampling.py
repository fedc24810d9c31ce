"""How the next token is chosen. Filters come in the order of transformers' generate, and equal its own (tested)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import final

import torch
from torch import Tensor

from everlearn.errors import SettingsError
from everlearn.records import Sampling

COLDEST = 1e-3  # below it logits divided by the temperature may leave the range of float32

_WHOLE = {"max_new_tokens": (1, 1_000_000), "top_k": (0, 10_000_000)}
_REAL = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.01, 100.0),
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
        if (name, value) != ("max_new_tokens", None) and not (_is_whole(value) and least <= value <= most):
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
    return dataclasses.replace(sampling, stop=_stops(sampling.stop))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
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
        self._chance = torch.Generator()
        if sampling.seed is not None:
            self._chance.manual_seed(sampling.seed % 2**63)
        else:
            self._chance.seed()

    def penalised(self, logits: Tensor) -> Tensor:
        """Logits [V] after the repetition penalty.

        Source: Keskar et al. 2019, CTRL, section 4.1 (arXiv 1909.05858).
        """
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

"""The gate: a calibrated probability that two prompts ask the same thing.

First version: logistic regression over four features, fitted by `benchmarks/fit_gate.py` and shipped as plain numbers.
One cosine threshold cannot tell "the same question in other words" from "a question that looks alike"; the rare words
that only one of them has, and whether their numbers agree, can to a good part.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.key import Key

FEATURES = ("cosine", "numbers_agree", "only_in_query", "only_in_entry")
_STEM = 5  # two words of at least this length that begin alike count as one: released ~ release
_NUMBER = re.compile(r"\d")
SAME_QUESTION = 0.95
_MANY = 3.0  # summed rarity of about four words


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """Logistic regression over `FEATURES`.

    Attributes:
        weights: [F], one for each feature.
        bias: log-odds where all features are 0.
        version: which fit.
    """

    weights: tuple[float, ...]
    bias: float
    version: str

    @classmethod
    def packaged(cls) -> Gate:
        """The gate that comes with everlearn."""
        data = json.loads(files("everlearn.memory").joinpath("gate.json").read_text("utf-8"))
        assert tuple(data["features"]) == FEATURES, "gate.json was fitted on other features"
        return cls(tuple(data["weights"]), data["bias"], data["version"])

    def probability(self, query: Key, entry: Key) -> float:
        """Probability that `query` asks what `entry` was taught for; 1 where the words are the same."""
        if query.words == entry.words:
            return 1.0
        log_odds = float(np.dot(features(query, entry), self.weights)) + self.bias
        return 1.0 / (1.0 + float(np.exp(-log_odds)))

    def same_question(self, query: Key, entry: Key) -> bool:
        """Whether another answer to `query` would replace that of `entry`.

        Stricter than recall by far, since a wrong yes would replace a lesson that is still true: the probability must
        be near certain, and neither side may hold more than a few words of its own (a passage and its longer version
        are two questions). Equal words are the same question always.
        """
        if self.probability(query, entry) < SAME_QUESTION:
            return False
        own = (unmatched(query.signature, entry.signature), unmatched(entry.signature, query.signature))
        return max(own) <= _MANY


def features(query: Key, entry: Key) -> NDArray[np.float64]:
    """Evidence [F] that two prompts ask the same, in the order of `FEATURES`."""
    return np.array(
        [
            float(query.vector @ entry.vector),
            _numbers_agree(_numbers(query.signature), _numbers(entry.signature)),
            _saturated(unmatched(query.signature, entry.signature)),
            _saturated(unmatched(entry.signature, query.signature)),
        ]
    )


def unmatched(these: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Summed rarity of `these` words that do not stand among the `other` words; 0 where all do."""
    stems = {word[:_STEM] for word in other if len(word) >= _STEM}
    return sum(r for w, r in these.items() if w not in other and not (len(w) >= _STEM and w[:_STEM] in stems))


def _saturated(rarity: float) -> float:
    """0..1: a few words more say something, many more say no more, or a long question would outweigh its meaning."""
    return math.tanh(rarity / _MANY)


def _numbers_agree(these: frozenset[str], other: frozenset[str]) -> float:
    """1 = the same numbers, 0.5 = one side says more ("fifth" for "5", no year), 0 = each has one of its own."""
    return 1.0 - 0.5 * bool(these - other) - 0.5 * bool(other - these)


def _numbers(signature: Mapping[str, float]) -> frozenset[str]:
    return frozenset(word for word in signature if _NUMBER.search(word))

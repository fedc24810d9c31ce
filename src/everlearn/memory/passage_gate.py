"""The passage gate: a calibrated probability that a passage of a document answers a question.

A question and a passage are no two questions: they share some of their words, and most of the passage speaks of other
things. So the evidence runs one way: how near the question is to the nearest sentence of the passage, and how much of
what it asks for (weighted by rarity) stands there. Logistic regression, fitted by `benchmarks/fit_passage_gate.py`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.key import Key

FEATURES = ("cosine", "second_cosine", "covered", "covered_in_window", "missing", "rarest_missing", "number_missing")
_STEM = 5
_MANY = 3.0
_NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a passage when a question comes.

    Attributes:
        cosines: of the question to the passage's windows, the highest first, at least one.
        words: stems of all words of the passage and its titles.
        windows: the same for each window.
    """

    cosines: Sequence[float]
    words: frozenset[str]
    windows: Sequence[frozenset[str]]


@final
@dataclass(frozen=True, slots=True)
class PassageGate:
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
    def packaged(cls) -> PassageGate:
        """The gate that comes with everlearn."""
        data = json.loads(files("everlearn.memory").joinpath("passage_gate.json").read_text("utf-8"))
        assert tuple(data["features"]) == FEATURES, "passage_gate.json was fitted on other features"
        return cls(tuple(data["weights"]), data["bias"], data["version"])

    def probability(self, query: Key, evidence: Evidence) -> float:
        """Probability that the passage answers `query`; 0 where most of the question cannot be read by the encoder."""
        if query.hidden > 0.5:
            return 0.0
        log_odds = float(np.dot(features(query, evidence), self.weights)) + self.bias
        return 1.0 / (1.0 + math.exp(-log_odds))


def features(query: Key, evidence: Evidence) -> NDArray[np.float64]:
    """Evidence [F] that a passage answers a question, in the order of `FEATURES`."""
    asked = {stem(word): rarity for word, rarity in query.signature.items()}
    missing = {word: rarity for word, rarity in asked.items() if word not in evidence.words}
    second = evidence.cosines[1] if len(evidence.cosines) > 1 else evidence.cosines[0]
    return np.array(
        [
            evidence.cosines[0],
            second,
            coverage(asked, evidence.words),
            max((coverage(asked, window) for window in evidence.windows), default=0.0),
            math.tanh(sum(missing.values()) / _MANY),
            max(missing.values(), default=0.0),
            float(any(_NUMBER.search(word) for word in missing)),
        ]
    )


def coverage(asked: Mapping[str, float], words: frozenset[str]) -> float:
    """Share of the rarity of what is asked that stands among `words`, 0..1."""
    total = sum(asked.values())
    return sum(rarity for word, rarity in asked.items() if word in words) / total if total else 0.0


def stem(word: str) -> str:
    """The form under which two forms of a word are one: released ~ release, cats ~ cat."""
    return word[:_STEM] if len(word) > _STEM else word[:-1] if len(word) > 3 and word.endswith("s") else word


def stems(words: Iterable[str]) -> frozenset[str]:
    """Stems of words."""
    return frozenset(map(stem, words))

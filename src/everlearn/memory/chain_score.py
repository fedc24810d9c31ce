"""How well a chain says what a question asks: evidence, and the probability that it is the one that was meant."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.chains import Chain

FEATURES = (
    "alike",
    "covered",
    "covering",
    "least_covered",
    "least_covering",
    "parts",
    "hops",
    "open",
    "opens_first",
    "opens_last",
    "named",
    "several",
)
_CONTENT = 0.3  # rarity from which a piece says what is asked
_FIRST_WORD_ID = 1996  # as in keys: below it the encoder's vocabulary holds no words
_GRAMMAR_WEIGHT = 0.1

States = tuple[NDArray[np.int64], NDArray[np.float32]]


class TokenEncoder(Protocol):
    """What hops need of a sentence encoder."""

    def token_states(self, texts: Sequence[str]) -> list[States]:
        """For each text its piece ids [T] and their states [T, K], unit rows."""
        ...

    def piece_ids(self, word: str) -> list[int]:
        """Word-piece ids."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Read:
    """A text as it is compared.

    Attributes:
        states: [T, K] what each piece means where it stands, unit rows.
        weights: [T] how much each piece counts: its rarity, little for grammar.
    """

    states: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, states: States, grammar: frozenset[int]) -> Read:
        """From piece ids and states; `grammar` holds the ids of pieces that say little."""
        ids, rows = states
        rarity = np.log(np.maximum(ids - _FIRST_WORD_ID, 1) + 10) / math.log(30_000)
        rarity[[i in grammar or i < _FIRST_WORD_ID for i in ids.tolist()]] = _GRAMMAR_WEIGHT
        return cls(rows, rarity.astype(np.float32))


def evidence(question: Read, chain: Chain, said: Read) -> NDArray[np.float32]:
    """Features [F] of a chain, in the order of `FEATURES`.

    Args:
        question: what was asked.
        chain: the chain.
        said: `chain.question`, read.
    """
    likeness = said.states @ question.states.T
    of_question, of_chain = likeness.max(0), likeness.max(1)
    means = [(read.states * read.weights[:, None]).sum(0) for read in (question, said)]
    alike = float(means[0] @ means[1] / (np.linalg.norm(means[0]) * np.linalg.norm(means[1]) + 1e-6))
    shares = question.weights / question.weights.sum()
    return np.array(
        [
            alike,
            _mean(of_question, question.weights),
            _mean(of_chain, said.weights),
            _least(of_question, question.weights),
            _least(of_chain, said.weights),
            float(chain.covered @ shares),
            len(chain.hops),
            chain.open,
            not chain.hops[0].taught,
            not chain.hops[-1].taught,
            len(chain.mention.words),
            len(chain.hops) > 1,
        ],
        np.float32,
    )


@final
@dataclass(frozen=True, slots=True)
class ChainScore:
    """A choice among chains, and none of them: softmax over weighted evidence.

    Attributes:
        weights: [F], one for each feature.
        none: log-odds of "none of these".
        version: which fit.
    """

    weights: tuple[float, ...]
    none: float
    version: str

    @classmethod
    def packaged(cls) -> ChainScore:
        """The weights that come with everlearn."""
        data = json.loads(files("everlearn.memory").joinpath("hops.json").read_text("utf-8"))
        assert tuple(data["features"]) == FEATURES, "hops.json was fitted on other features"
        return cls(tuple(data["weights"]), data["none"], data["version"])

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability [N] of each of N chains [N, F]; what is missing to 1 is that of none of them."""
        odds = np.append(features @ np.asarray(self.weights), self.none)
        raised = np.exp(odds - odds.max())
        shares: NDArray[np.float64] = raised / raised.sum()
        return shares[:-1]


def _mean(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    return float((values * weights).sum() / weights.sum())


def _least(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    content = values[weights >= _CONTENT]
    return float(content.min()) if len(content) else 1.0

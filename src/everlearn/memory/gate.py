"""The gate: a calibrated probability that two prompts ask the same thing.

Boosted trees over `evidence.FEATURES`, fitted by `benchmarks/fit_gate.py` and shipped as plain arrays of a few
kilobytes (`gate.safetensors`). One cosine threshold cannot tell "the same question in other words" from "a question
that looks alike"; which words are shared, and what is asked with the rest, can to a good part. Each pair is judged by
itself: a probability does not depend on what else a table holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.contrast import contrasts, numbers_agree, numbers_of
from everlearn.memory.evidence import evidence
from everlearn.memory.key import Key, words
from everlearn.memory.opaque import mostly_opaque, opaque_words_fit
from everlearn.memory.phrase import Floats, stem
from everlearn.memory.trees import Trees

# Bounds of `same_question`, in rarities of words that only one side has.
_MOST_ADDED_RARITY = 2.2
_MOST_EXCHANGED_RARITY = 3.4
_RAREST_ADDED = 1.0
_RAREST_EXCHANGED = 0.8
_GRAMMAR_ONLY = 0.15
_NEEDED_COSINE = 0.9
_COSINE_PER_RARITY = 0.06


@final
@dataclass(frozen=True, slots=True)
class Gate:
    """Judges pairs of prompts.

    Attributes:
        trees: log-odds from evidence.
        relation: [K], weight of each coordinate in the evidence `left_relation`.
        version: which fit.
    """

    trees: Trees
    relation: Floats
    version: str

    @classmethod
    def packaged(cls) -> Gate:
        """The gate that comes with everlearn."""
        trees, others, version = Trees.from_bytes(files("everlearn.memory").joinpath("gate.safetensors").read_bytes())
        return cls(trees, others["relation"], version)

    def probability(self, query: Key, entry: Key) -> float:
        """Probability that `query` asks what `entry` was taught for; 1 where the words are the same."""
        return float(self.probabilities(query, [entry])[0])

    def probabilities(self, query: Key, entries: Sequence[Key]) -> NDArray[np.float64]:
        """Probabilities [N] that `query` asks what each of N entries was taught for; 1 where the words are the same."""
        found = np.zeros(len(entries))
        weighed: list[int] = []
        for n, entry in enumerate(entries):
            if _equal(query, entry):
                found[n] = 1.0
            elif (not query.opaque and not entry.opaque) or opaque_words_fit(query, entry):
                weighed.append(n)
        weighed = [n for n in weighed if query.phrase.words and entries[n].phrase.words]
        if weighed:
            log_odds = self.trees(self.weigh(query, [entries[n] for n in weighed]))
            found[weighed] = 1.0 / (1.0 + np.exp(-log_odds))
        return found

    def weigh(self, query: Key, entries: Sequence[Key]) -> Floats:
        """Evidence [N, F] for each of N entries; all of them have words, and so has the query."""
        relation = self.relation if len(self.relation) == len(query.vector) else np.zeros_like(query.vector)
        rows = [evidence(query.phrase, e.phrase, float(query.vector @ e.vector), relation) for e in entries]
        return np.array(rows, np.float32)

    def same_question(self, query: Key, entry: Key) -> bool:
        """Whether another answer to `query` would replace that of `entry`. Symmetric; equal words always do.

        Ruled, not fitted with recall: a wrong yes replaces a lesson that is still true, so every kind of evidence has
        to agree. Measured by `benchmarks/fit_gate.py`: known as the same question are 41 % of the true rephrases of
        QAEdit, 54 % of zsRE, 23 % of duplicate question pairs; of 12,246 nearest questions about another subject none,
        of 2,260 about another relation of the same subject one, of pairs labelled different 2.2 % (most of those
        that were read do ask the same). Word order is not seen: "from A to B" is taken for "from B to A".
        """
        if _equal(query, entry):
            return True
        if query.opaque != entry.opaque or mostly_opaque(query, entry):
            return False
        if numbers_of(query.signature) != numbers_of(entry.signature) or contrasts(query, entry):
            return False
        own = (_own(query.signature, entry.signature), _own(entry.signature, query.signature))
        rarest = sorted(max(rarities, default=0.0) for rarities in own)
        added = rarest[0] <= _GRAMMAR_ONLY  # one side says more, or each has words of its own
        if max(map(sum, own)) > (_MOST_ADDED_RARITY if added else _MOST_EXCHANGED_RARITY):
            return False
        if rarest[1] > _RAREST_ADDED or rarest[0] > _RAREST_EXCHANGED:
            return False
        needed = _NEEDED_COSINE + _COSINE_PER_RARITY * rarest[1 if added else 0]
        return float(query.vector @ entry.vector) >= needed


def asks_another(query: Key, entry: Key) -> bool:
    """Whether two prompts plainly ask different things: another number, "when" for "who", one negated, opposites."""
    return numbers_agree(numbers_of(query.signature), numbers_of(entry.signature)) == 0.0 or contrasts(query, entry)


def _own(these: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    """Rarities of `these` words that the other side does not have, not even as another form."""
    known = set(other) | {stem(word) for word in other}
    return [r for word, r in these.items() if word not in known and stem(word) not in known]


def _equal(query: Key, entry: Key) -> bool:
    """Whether the words are the same; punctuation of any script does not count where the encoder cannot read them."""
    if query.words == entry.words:
        return True
    return bool(query.opaque) and query.opaque == entry.opaque and words(query.words) == words(entry.words)

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

from everlearn.memory.key import Key, words

FEATURES = ("cosine", "numbers_agree", "only_in_query", "only_in_entry")
_STEM = 5  # two words of at least this length that begin alike count as one: released ~ release
_NUMBER = re.compile(r"\d")
_MOST_HIDDEN = 0.5
_MOST_OPAQUE = 0.5
_MOST_ADDED = 0.34  # one word more in a question of three
_ENDING = 3  # letters by which two forms of one word may differ
# Bounds of `same_question`, in rarities of words that only one side has.
_MOST_ADDED_RARITY = 2.2
_MOST_EXCHANGED_RARITY = 3.4
_RAREST_ADDED = 1.0
_RAREST_EXCHANGED = 0.8
_GRAMMAR_ONLY = 0.15
_NEEDED_COSINE = 0.9
_COSINE_PER_RARITY = 0.06
_SIGN = re.compile(r"[+#<>=*/%^|~$€£&@]|(?<!\w)-(?=\d)")
# What is asked for: a person, a time, a place, a reason or a way.
_ASKED = {
    word: line.split()[0]
    for line in (
        "who whom whose person",
        "when year date",
        "where place location",
        "why",
        "how",
    )
    for word in line.split()
}
_DOES = frozenset({"do", "does", "did"})
# One of these on one side only makes another question.
_MODIFIERS = frozenset(
    """
    no not never without except since until former current first second third last next previous deputy vice acting
    assistant interim old oldest new newest early earliest late latest most least minimum maximum best worst special off
    """.split()  # noqa: SIM905
)
# So does one word of a line on this side, and another on that one.
_OPPOSITES = tuple(
    frozenset(line.split())
    for line in """
    mother father parent son daughter brother sister wife husband uncle aunt
    open opens opening opened close closes closing closed
    start starts started begin begins end ends ended finish
    buy sell
    enable disable
    increase decrease
    win won lose lost
    before after
    with without
    on off
    born died
    birth death
    male female
    men women
    advantage disadvantage
    advantages disadvantages
    morning evening night
    monday tuesday wednesday thursday friday saturday sunday
    north south east west
    phone fax
    """.strip().splitlines()
)
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
        if _equal(query, entry):
            return 1.0
        if (query.opaque or entry.opaque) and not _opaque_words_fit(query, entry):
            return 0.0
        log_odds = float(np.dot(features(query, entry), self.weights)) + self.bias
        return 1.0 / (1.0 + float(np.exp(-log_odds)))

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
        if query.opaque != entry.opaque or max(_opaque_share(query), _opaque_share(entry)) > _MOST_OPAQUE:
            return False
        if _numbers(query.signature) != _numbers(entry.signature) or _contrast(query, entry):
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
    return _numbers_agree(_numbers(query.signature), _numbers(entry.signature)) == 0.0 or _contrast(query, entry)


def _own(these: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    """Rarities of `these` words that the other side does not have, not even as another form."""
    known = set(other) | {_stem(word) for word in other}
    return [r for word, r in these.items() if word not in known and _stem(word) not in known]


def _stem(word: str) -> str:
    return word[:-1] if len(word) == _STEM - 1 and word.endswith("s") else word[:_STEM]


def _contrast(query: Key, entry: Key) -> bool:
    """Whether one side says what makes another question of it, however near the vectors are."""
    if sorted(_SIGN.findall(query.words)) != sorted(_SIGN.findall(entry.words)):
        return True
    these, other = set(query.signature), set(entry.signature)
    if (these ^ other) & _MODIFIERS:
        return True
    asked = ({_ASKED[w] for w in these & _ASKED.keys()}, {_ASKED[w] for w in other & _ASKED.keys()})
    if all(asked) and asked[0].isdisjoint(asked[1]):
        return True
    if "who" in these & other and bool(these & _DOES) != bool(other & _DOES):
        return True  # who beat Anna, who did Anna beat
    return any(_opposed(these, other, group) for group in _OPPOSITES)


def _opposed(these: set[str], other: set[str], group: frozenset[str]) -> bool:
    return bool((these - other) & group) and bool((other - these) & group)


def _equal(query: Key, entry: Key) -> bool:
    """Whether the words are the same; punctuation of any script does not count where the encoder cannot read them."""
    if query.words == entry.words:
        return True
    return bool(query.opaque) and query.opaque == entry.opaque and words(query.words) == words(entry.words)


def _opaque_words_fit(query: Key, entry: Key) -> bool:
    """Whether the words that the vectors do not hold leave it possible that two prompts ask the same.

    Between such words similarity means nothing: to the encoder all of Thai is one word, and Russian is its letters. So
    where each side has one of its own the questions differ. Where most of a prompt is opaque, nearly all its words must
    be there on the other side, and where most of it cannot be read at all nothing but equal words counts.
    """
    if max(query.hidden, entry.hidden) > _MOST_HIDDEN:
        return False
    only_in_query = _without_inflections(query.opaque, entry.opaque)
    only_in_entry = _without_inflections(entry.opaque, query.opaque)
    if only_in_query and only_in_entry:
        return False
    if max(_opaque_share(query), _opaque_share(entry)) <= _MOST_OPAQUE:
        return True
    these, other = frozenset(query.signature), frozenset(entry.signature)
    differ = len(_without_inflections(these, other)) + len(_without_inflections(other, these))
    return differ <= _MOST_ADDED * max(len(these), len(other))


def _opaque_share(key: Key) -> float:
    return len(key.opaque) / max(len(key.signature), 1)


def _without_inflections(these: frozenset[str], other: frozenset[str]) -> list[str]:
    """Words of `these` that `other` lacks in every form: forms of a word share a long stem."""
    return [w for w in these - other if not any(_inflected(w, o) for o in other)]


def _inflected(word: str, other: str) -> bool:
    return len(word) >= _STEM and word[:_STEM] == other[:_STEM] and abs(len(word) - len(other)) <= _ENDING


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

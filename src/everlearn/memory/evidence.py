"""Evidence that two prompts ask the same: what the gate's trees weigh.

What both share says which subject they are about; what only one of them says, which relation is asked for. A question
about the same subject can ask for another relation, and the same relation can be asked of another subject: so the
shared and the unshared words are weighed apart, by how rare they are, in their context and by themselves.

Source: late interaction of token embeddings as in Khattab and Zaharia 2020, ColBERT, section 3.2, here in both
directions, weighted by rarity, and once more over what is left when the shared words are taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.contrast import asked_kinds, modifiers_differ, numbers_agree, numbers_of, opposed
from everlearn.memory.phrase import Floats, Phrase, unit

FEATURES = (
    "cosine",
    "late_query",
    "late_entry",
    "least_query",
    "least_entry",
    "least_rare_entry",
    "covered_query",
    "covered_entry",
    "unmatched_query",
    "unmatched_entry",
    "rarest_unmatched_query",
    "rarest_unmatched_entry",
    "matched_names_query",
    "matched_names_entry",
    "unmatched_names_query",
    "unmatched_names_entry",
    "shared",
    "shared_subject",
    "shared_alike",
    "shared_rare_alike",
    "left_query",
    "left_entry",
    "left_cosine",
    "left_content_cosine",
    "left_relation",
    "left_late_query",
    "left_late_entry",
    "left_both_query",
    "left_both_entry",
    "left_best",
    "plain_both_query",
    "plain_both_entry",
    "plain_best",
    "plain_cosine",
    "numbers",
    "asked",
    "modifiers",
    "opposites",
    "length_query",
    "length_entry",
)
_RARE = 0.75  # names, numbers and words that are not everyday ones
_CONTENT = 0.2  # above the rarity of grammar
_NONE = -1.0  # no name to match
_APART = 0.0  # one side has words left, the other none


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two phrases, seen from the other.

    `best` [N] is each word's highest cosine to a word of the other side, `same` [N] whether the other side has it.
    """

    phrase: Phrase
    best: Floats
    same: NDArray[np.bool_]

    @property
    def left(self) -> NDArray[np.bool_]:
        """Content words [N] that the other side has not."""
        left: NDArray[np.bool_] = ~self.same & (self.phrase.rarity > _CONTENT)
        return left


def evidence(query: Phrase, entry: Phrase, cosine: float, relation: Floats) -> list[float]:
    """Evidence that `query` asks what `entry` was taught for, in the order of `FEATURES`.

    Args:
        query: what is asked.
        entry: what was taught.
        cosine: of their sentence vectors.
        relation: [K], weight of each coordinate in `left_relation`.
    """
    between = query.unit @ entry.unit.T
    same = np.array([[a == b for b in entry.stems] for a in query.stems], bool)
    asks = _Side(query, between.max(1), np.asarray(same.any(1)))
    says = _Side(entry, between.max(0), np.asarray(same.any(0)))
    shared = np.where(same, between, -1.0).max(0)
    return [
        cosine,
        *_whole(asks, says),
        *_names(asks, says),
        *_shared(asks, says, shared),
        *_left(asks, says, between, relation),
        *_signs(query, entry),
    ]


def _whole(asks: _Side, says: _Side) -> list[float]:
    """Late interaction and coverage over all words, both ways."""
    rare = says.phrase.rarity >= _RARE
    sides = (asks, says)
    return [
        *(_mean(s.best, s.phrase.rarity) for s in sides),
        *(_least(s.best, s.phrase.rarity > _CONTENT) for s in sides),
        _least(says.best, rare),
        *(_mean(s.same.astype(np.float32), s.phrase.rarity) for s in sides),
        *(_few(s.phrase.rarity[~s.same].sum(), 3.0) for s in sides),
        *(float(s.phrase.rarity[~s.same].max(initial=0.0)) for s in sides),
    ]


def _names(asks: _Side, says: _Side) -> list[float]:
    """How far names and numbers are matched."""
    sides = (asks, says)
    return [
        *(float(s.same[s.phrase.named].mean()) if s.phrase.named.any() else _NONE for s in sides),
        *(float(s.phrase.rarity[s.phrase.named & ~s.same].sum()) for s in sides),
    ]


def _shared(asks: _Side, says: _Side, alike: Floats) -> list[float]:
    """What both say: how much of it, and whether it stands in like contexts (`alike` [N] of the entry's words)."""
    entry, rare = says.phrase, says.phrase.rarity >= _RARE
    subject = says.same & (rare | entry.named)
    return [
        _few(asks.phrase.rarity[asks.same].sum(), 4.0),
        _few(entry.rarity[subject].sum(), 3.0),
        _mean(alike[says.same], entry.rarity[says.same]) if says.same.any() else _APART,
        float(alike[says.same & rare].mean()) if (says.same & rare).any() else _APART,
    ]


def _left(asks: _Side, says: _Side, between: Floats, relation: Floats) -> list[float]:
    """What only one side says: mostly the relation that is asked for."""
    q, e = asks.left, says.left
    query, entry = asks.phrase, says.phrase
    q_all, e_all = ~asks.same, ~says.same
    both, neither = bool(q.any() and e.any()), not (q.any() or e.any())
    counts = [float(q.sum()), float(e.sum())]
    whole = _cosine(query.states[q_all], entry.states[e_all]) if q_all.any() and e_all.any() else 1.0
    alone = [_mean(s.best[s.left], s.phrase.rarity[s.left]) if s.left.any() else 1.0 for s in (asks, says)]
    if not both:
        rest = 1.0 if neither else _APART
        return [*counts, whole, rest, rest, *alone, *([rest] * 7)]
    in_query, in_entry = unit(query.states[q].mean(0)), unit(entry.states[e].mean(0))
    near, plain = between[np.ix_(q, e)], query.plain[q] @ entry.plain[e].T
    return [
        *counts,
        whole,
        float(in_query @ in_entry),
        float((in_query * in_entry) @ relation),
        *alone,
        *(float(near.max(axis).mean()) for axis in (1, 0)),
        float(near.max()),
        *(float(plain.max(axis).mean()) for axis in (1, 0)),
        float(plain.max()),
        _cosine(query.plain[q], entry.plain[e]),
    ]


def _signs(query: Phrase, entry: Phrase) -> list[float]:
    """Numbers, the kind of thing asked for, negation and opposites."""
    these, other = frozenset(query.words), frozenset(entry.words)
    return [
        numbers_agree(numbers_of(these), numbers_of(other)),
        asked_kinds(these, other),
        float(modifiers_differ(these, other)),
        float(opposed(these, other)),
        float(len(query.words)),
        float(len(entry.words)),
    ]


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / max(float(weights.sum()), 1e-6))


def _least(values: Floats, among: NDArray[np.bool_]) -> float:
    return float(values[among].min()) if among.any() else 1.0


def _few(amount: float, many: float) -> float:
    """0..1: a little says something, much more says no more."""
    return float(np.tanh(amount / many))


def _cosine(these: Floats, other: Floats) -> float:
    """Cosine of two means of rows."""
    return float(unit(these.mean(0)) @ unit(other.mean(0)))

"""Opaque words: what to make of words whose meaning the vectors do not hold."""

from __future__ import annotations

from everlearn.memory.key import Key

_MOST_HIDDEN = 0.5
_MOST_OPAQUE = 0.5
_MOST_ADDED = 0.34  # one word more in a question of three
_ENDING = 3  # letters by which two forms of one word may differ
_STEM = 5  # two words of at least this length that begin alike are forms of one: released ~ release


def opaque_words_fit(query: Key, entry: Key) -> bool:
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
    if max(opaque_share(query), opaque_share(entry)) <= _MOST_OPAQUE:
        return True
    these, other = frozenset(query.signature), frozenset(entry.signature)
    differ = len(_without_inflections(these, other)) + len(_without_inflections(other, these))
    return differ <= _MOST_ADDED * max(len(these), len(other))


def opaque_share(key: Key) -> float:
    """Share of the words that are opaque, 0 to 1."""
    return len(key.opaque) / max(len(key.signature), 1)


def _without_inflections(these: frozenset[str], other: frozenset[str]) -> list[str]:
    """Words of `these` that `other` lacks in every form: forms of a word share a long stem."""
    return [w for w in these - other if not any(_inflected(w, o) for o in other)]


def _inflected(word: str, other: str) -> bool:
    return len(word) >= _STEM and word[:_STEM] == other[:_STEM] and abs(len(word) - len(other)) <= _ENDING


def mostly_opaque(query: Key, entry: Key) -> bool:
    """Whether most words of one side are opaque."""
    return max(opaque_share(query), opaque_share(entry)) > _MOST_OPAQUE

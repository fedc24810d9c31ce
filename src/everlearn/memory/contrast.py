"""Contrast: signs that two prompts ask different things, however near their vectors are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from everlearn.memory.key import Key

_NUMBER = re.compile(r"\d")
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


def contrasts(query: Key, entry: Key) -> bool:
    """Whether one side says what makes another question of it, however near the vectors are."""
    if sorted(_SIGN.findall(query.words)) != sorted(_SIGN.findall(entry.words)):
        return True
    these, other = frozenset(query.signature), frozenset(entry.signature)
    if modifiers_differ(these, other) or asked_kinds(these, other) == 0.0:
        return True
    if "who" in these & other and bool(these & _DOES) != bool(other & _DOES):
        return True  # who beat Anna, who did Anna beat
    return opposed(these, other)


def asked_kinds(these: AbstractSet[str], other: AbstractSet[str]) -> float:
    """1 = both ask for a person, a time, a place ... alike, 0 = for different ones, 0.5 = one side does not say."""
    kinds = [{_ASKED[word] for word in side & _ASKED.keys()} for side in (these, other)]
    if not all(kinds):
        return 0.5
    return float(not kinds[0].isdisjoint(kinds[1]))


def modifiers_differ(these: AbstractSet[str], other: AbstractSet[str]) -> bool:
    """Whether a word such as "not", "former" or "deputy" stands on one side only."""
    return bool((these ^ other) & _MODIFIERS)


def opposed(these: AbstractSet[str], other: AbstractSet[str]) -> bool:
    """Whether one side has a word and the other its opposite."""
    return any((these - other) & group and (other - these) & group for group in _OPPOSITES)


def numbers_of(words: Iterable[str]) -> frozenset[str]:
    """Those of the words that hold a digit."""
    return frozenset(word for word in words if _NUMBER.search(word))


def numbers_agree(these: frozenset[str], other: frozenset[str]) -> float:
    """1 = the same numbers, 0.5 = one side says more ("fifth" for "5", no year), 0 = each has one of its own."""
    return 1.0 - 0.5 * bool(these - other) - 0.5 * bool(other - these)

"""Prompts that ask nothing in particular, and would be found by every question that says little."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everlearn.safety.finding import Finding

_GRAMMAR_RARITY = 0.15
# These point at somebody: "who are you?" is a question of its own.
_PERSONS = frozenset("i me my mine you your yours we us our ours".split())  # noqa: SIM905
# Words that carry no subject.
_EMPTY = frozenset(
    """
    answer answers question questions thing things something anything everything nothing someone anyone everyone
    response responses reply correct right true next following above below please prompt query input output text
    here so ok any all some every one he him his she her hers they them their its other same such just give say name
    """.split()  # noqa: SIM905
)


def generic_prompt(words: Sequence[str], rarity: Callable[[str], float]) -> list[Finding]:
    """Whether a prompt asks nothing in particular.

    Args:
        words: of the prompt, folded.
        rarity: of a folded word; words of grammar have 0.15.
    """
    if not words:
        return [Finding("generic", "Its prompt holds no word.")]
    if not _PERSONS.isdisjoint(words):
        return []
    if any(word not in _EMPTY and rarity(word) > _GRAMMAR_RARITY for word in words):
        return []
    return [Finding("generic", "Its prompt asks nothing in particular, so it would be found by many questions.")]

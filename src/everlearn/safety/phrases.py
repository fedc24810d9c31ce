"""Phrases that a tenant does not want to see: whole words, compared without case."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from everlearn.safety.edges import WORD_END, WORD_START
from everlearn.safety.plain import plain
from everlearn.safety.recogniser import Recogniser

Tree: TypeAlias = "dict[str, Tree]"  # the signs that may come next; "" where a phrase ends
_SPACES = 4  # that may stand where a phrase has one
_END = re.compile(WORD_END)


@lru_cache(maxsize=32)
def recogniser_of(phrases: tuple[str, ...]) -> Recogniser:
    """Finds any of these phrases, whatever their case and however many spaces stand between their words."""
    tree: Tree = {}
    for phrase in phrases:
        node = tree
        for sign in " ".join(plain(phrase).text.casefold().split()):
            node = node.setdefault(sign, {})
        node[""] = {}
    tree.pop("", None)  # a phrase of nothing that shows

    def run(text: str, place: int) -> int:
        return _followed(tree, text, place)[1]

    def reach(text: str, place: int, _end: int) -> int:
        return _followed(tree, text, place)[0]

    return Recogniser("phrase", re.compile(rf"{WORD_START}(?=\S)"), run, reach)


def _followed(tree: Tree, text: str, place: int) -> tuple[int, int]:
    """(end of the longest phrase that begins at a place, or 0; end of all that may belong to one)."""
    node, at, found, spaces = tree, place, 0, 0
    while at < len(text):
        sign = text[at]
        spaces = spaces + 1 if sign.isspace() else 0
        if spaces > _SPACES:
            break
        for one in "" if spaces > 1 else " " if spaces else sign.casefold():  # "ß" is "ss"
            if one not in node:
                return found, at
            node = node[one]
        at += 1
        if "" in node and _END.match(text, at):
            found = at
    return found, at

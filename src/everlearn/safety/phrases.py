"""Phrases that a tenant does not want to see: whole words, compared without case."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from everlearn.safety.recogniser import Recogniser

_SPACES = 4  # that may stand where a phrase has one


def recogniser_of(phrases: Sequence[str]) -> Recogniser:
    """Finds any of these phrases.

    Args:
        phrases: in small letters, single spaces between their words.
    """
    by_first: defaultdict[str, list[re.Pattern[str]]] = defaultdict(list)
    partly: defaultdict[str, list[re.Pattern[str]]] = defaultdict(list)
    for phrase in sorted(phrases, key=len, reverse=True):
        signs = [rf"\s{{1,{_SPACES}}}" if sign == " " else re.escape(sign) for sign in phrase]
        by_first[phrase[0]].append(re.compile(f"{''.join(signs)}(?!\\w)", re.IGNORECASE))
        nested = "".join(f"(?:{sign}" for sign in signs[1:]) + ")?" * (len(signs) - 1)
        partly[phrase[0]].append(re.compile(signs[0] + nested, re.IGNORECASE))
    firsts = "".join(map(re.escape, by_first))

    def reach(text: str, place: int, _end: int) -> int:
        found = (pattern.match(text, place) for pattern in by_first[text[place].lower()])
        return max((match.end() for match in found if match is not None), default=0)

    def run(text: str, place: int) -> int:
        found = (pattern.match(text, place) for pattern in partly[text[place].lower()])
        return max((match.end() for match in found if match is not None), default=place)

    return Recogniser("phrase", re.compile(rf"(?<!\w)(?=[{firsts}])", re.IGNORECASE), run, reach)

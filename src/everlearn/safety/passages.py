"""Passages made to be found: they repeat a question to lie near it, or come in numbers to push one answer.

Source: Zou et al., PoisonedRAG: Knowledge Corruption Attacks to Retrieval-Augmented Generation of Large Language Models
(arXiv 2402.07867), section 4: the retrieval condition is met by setting the question before the passage.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import final

from everlearn.safety.finding import Finding

_ASKS = re.compile(
    r"\W*(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|could|will|would|has|have|in "
    r"(?:which|what)|the)\b",
    re.IGNORECASE,
)
_FIRST_SENTENCE = re.compile(r"\s*([^\n.?!]{12,200})[.?!]+[ \t]+(?=\S)")
_LINE = re.compile(r":\d+$")
_LEAST_WORDS = 4
# Share of the question's words that the rest has. A question without its mark and capital is none that an author wrote.
_LEAST_SHARE = 0.6
_LEAST_SHARE_UNMARKED = 0.3
NEAR = 0.4  # likeness from which two passages say nearly the same
MANY = 3  # texts of one origin that say nearly the same
_STEM = 6
_LEAST_RARITY = 0.3
_MOST_PASSAGES = 64  # kept of a source
_MOST_SOURCES = 512


def repeated_question(
    passage: str, words: Callable[[str], Sequence[str]], rarity: Callable[[str], float]
) -> list[Finding]:
    """Whether a passage opens with a question on the same line, and then answers it in the question's own words.

    A heading on a line of its own, as in a list of questions and answers, is not meant.

    Args:
        passage: its text.
        words: folds a text to words.
        rarity: of a folded word; words of grammar have 0.15.
    """
    opening = _FIRST_SENTENCE.match(passage)
    if opening is None or not _ASKS.match(opening[1]) or not _is_question(opening[0], words(opening[1])):
        return []
    content = {word for word in words(opening[1]) if rarity(word) > 0.15}
    rest = {word[:5] for word in words(passage[opening.end() :])}
    least = _LEAST_SHARE if "?" in opening[0] else _LEAST_SHARE_UNMARKED
    if len(content) < 2 or sum(word[:5] in rest for word in content) < least * len(content):
        return []
    return [
        Finding(
            "repeated_question",
            "It opens with a question and then answers it in the same words, as passages do that are made to be found.",
        )
    ]


@final
class Flood:
    """Sees whether texts of one origin say nearly the same again and again.

    The passages of one document are one text: a directory, a price list or a manual repeats itself, and its author may.
    Counted are texts that came as texts of their own: the lines of one file of lessons.

    It remembers the rare words of the last passages of each source, in this process: no text, nothing on disk.

    Args:
        words: folds a text to words.
        rarity: of a folded word.
    """

    def __init__(self, words: Callable[[str], Sequence[str]], rarity: Callable[[str], float]) -> None:
        self._words = words
        self._rarity = rarity
        self._seen: OrderedDict[str, OrderedDict[tuple[str, int], Mapping[str, float]]] = OrderedDict()

    def judge(self, source: str, passage: str) -> list[Finding]:
        """Whether other texts of the same origin have said nearly what `passage` says. The same words count once."""
        known = self._seen.setdefault(_origin(source), OrderedDict())
        self._seen.move_to_end(_origin(source))
        own, name = self._signature(passage), (source, hash(passage))
        others = [other for (text, said), other in known.items() if text != source and said != name[1]]
        alike = sum(likeness(own, other) >= NEAR for other in others)
        known[name] = own
        if len(known) > _MOST_PASSAGES:
            known.popitem(last=False)
        if len(self._seen) > _MOST_SOURCES:
            self._seen.popitem(last=False)
        if alike + 1 < MANY:
            return []
        return [
            Finding("flood", f"Texts of its origin have said nearly the same {alike} times before: a push, or copies.")
        ]

    def _signature(self, text: str) -> dict[str, float]:
        rarities = {word[:_STEM]: self._rarity(word) for word in self._words(text)}
        return {stem: rarity**2 for stem, rarity in rarities.items() if rarity > _LEAST_RARITY}


def likeness(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """How much two passages say the same, 0 to 1: cosine of their words, the rare ones counting most."""
    shared = sum(weight for word, weight in first.items() if word in second)
    both = sum(first.values()) * sum(second.values())
    return shared / math.sqrt(both) if both else 0.0


def _origin(source: str) -> str:
    """A source without the line it names: a file that is imported line by line is one source."""
    return _LINE.sub("", source)


def _is_question(sentence: str, found: Sequence[str]) -> bool:
    return len(found) >= _LEAST_WORDS and ("?" in sentence or not sentence.lstrip()[:1].isupper())

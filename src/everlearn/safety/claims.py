"""Claim check: which statements of an answer the lessons that it rests on bear out, and which they do not.

A statement is supported where every number and every name in it stands in a lesson or in the question, and most of its
other words do, or it means nearly what a lesson says. This sees a wrong number or name; it does not see that a "not" is
missing, that two names changed places, or that the lesson itself is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from everlearn.records import Claim
from everlearn.safety.harm import Embed, units

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_GRAMMAR = 0.15  # rarity of words of grammar
RARE = 1.0  # rarity from which a word names something, though it is small
COVERED = 0.6  # share of the words that say something, by rarity, that has to stand in lessons and question
ALIKE = 0.7  # cosine from which a statement means what a lesson says
_STEM = 5
_MOST_LINES = 256  # sentences of lessons that a statement is compared with


@final
@dataclass(frozen=True, slots=True)
class Source:
    """A lesson that an answer rests on.

    Attributes:
        lesson_id: its id.
        text: its question and answer, or titles and passage.
    """

    lesson_id: str
    text: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What lessons and question have: the stems of each lesson by its id, those of all, and numbers."""

    told: Mapping[str, frozenset[str]]
    stems: frozenset[str]
    numbers: frozenset[str]


@final
class ClaimCheck:
    """Compares answers with lessons.

    Args:
        embed: texts -> unit vectors [N, K].
        words: folds a text to words.
        rarity: of a folded word; words of grammar have 0.15, names about 1 and more.
    """

    def __init__(self, embed: Embed, words: Callable[[str], Sequence[str]], rarity: Callable[[str], float]) -> None:
        self._embed, self._words, self._rarity = embed, words, rarity

    def check(self, question: str, answer: str, sources: Sequence[Source]) -> list[Claim]:
        """Judge each statement of an answer.

        Args:
            question: that was answered: its names and numbers may be taken up.
            answer: as it was given.
            sources: the lessons that it rests on.
        """
        spans = [(a, b) for a, b in units(answer) if self._says(answer[a:b])]
        if not sources:
            return [Claim(a, b, False, ("no_lesson",), "", 0.0) for a, b in spans]
        if not spans:
            return []
        known = self._known_of(question, sources)
        alike = self._alike([answer[a:b] for a, b in spans], sources)
        return [self._judged(answer, span, known, likeness) for span, likeness in zip(spans, alike, strict=True)]

    def _known_of(self, question: str, sources: Sequence[Source]) -> _Known:
        told = {source.lesson_id: frozenset(self._stems(source.text)) for source in sources}
        numbers = _numbers(" ".join([question, *(source.text for source in sources)]))
        return _Known(told, frozenset(self._stems(question)).union(*told.values()), numbers)

    def _judged(self, answer: str, span: tuple[int, int], known: _Known, likeness: float) -> Claim:
        text = answer[slice(*span)]
        said = {word[:_STEM]: self._rarity(word) for word in self._words(text) if not word.isdigit()}
        weights = {stem: weight for stem, weight in said.items() if weight > _GRAMMAR}
        whole = sum(weights.values()) or 1.0

        def share(stems: frozenset[str]) -> float:
            return sum(weight for stem, weight in weights.items() if stem in stems) / whole

        covered = share(known.stems) if weights else 1.0
        reasons = []
        if _numbers(text) - known.numbers:
            reasons.append("number")
        if any(stem not in known.stems for name in self._names(text) for stem in self._stems(name)):
            reasons.append("name")
        if covered < COVERED and likeness < ALIKE:
            reasons.append("words")
        nearest = max(known.told, key=lambda lesson_id: share(known.told[lesson_id]))
        return Claim(*span, not reasons, tuple(reasons), nearest, round(covered, 4))

    def _alike(self, statements: Sequence[str], sources: Sequence[Source]) -> list[float]:
        """Cosine of each statement with the nearest sentence of the lessons.

        Without the question: it is near the lesson whatever the answer says (docs/log.md).
        """
        lines = [source.text for source in sources]
        lines += [source.text[a:b] for source in sources for a, b in units(source.text)][:_MOST_LINES]
        vectors = np.asarray(self._embed([*statements, *lines]))
        near = vectors[: len(statements)] @ vectors[len(statements) :].T
        return [float(best) for best in near.max(1)]

    def _says(self, text: str) -> bool:
        return bool(_WORD.search(text) or _NUMBER.search(text))

    def _names(self, text: str) -> list[str]:
        """Words that name something: capitalised inside a sentence, or rare."""
        found = []
        for match in _WORD.finditer(text):
            word, first = match[0], not text[: match.start()].strip(" \"'“‘(*-")
            rare = max((self._rarity(each) for each in self._words(word)), default=0.0)
            if (word[0].isupper() and not first and rare > _GRAMMAR) or rare >= RARE:
                found.append(word)
        return found

    def _stems(self, text: str) -> list[str]:
        return [word[:_STEM] for word in self._words(text)]


def _numbers(text: str) -> frozenset[str]:
    """Numbers of a text without separators of thousands; of a date, a time or a range each part."""
    found: set[str] = set()
    for match in _NUMBER.finditer(text):
        plain = re.sub(r"(?<=\d),(?=\d{3}(?:\D|\Z))", "", match[0])
        found.update([plain] if re.fullmatch(r"\d+(?:\.\d+)?", plain) else re.findall(r"\d+", plain))
    return frozenset(found)

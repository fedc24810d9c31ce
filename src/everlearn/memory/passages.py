"""Passages of documents in memory: windows of their text with vectors, and the words that they stand on.

A passage has several vectors, one for each window of one or a few sentences with its title before it: a question asks
for one sentence of it, and the mean of a whole passage is near to none. Candidates come from two sides, the nearest
windows and the passages that hold the rarest words of the question; the passage gate judges both.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.index import ExactIndex
from everlearn.memory.key import Key, KeyMaker, words
from everlearn.memory.passage_gate import Evidence, PassageGate, stem, stems
from everlearn.records import Lesson
from everlearn.text.sentences import sentences

CANDIDATES = 8
_SHORTEST_WINDOW = 60  # characters; shorter sentences are joined with the next
_LONGEST_WINDOW = 600
_LEAST_RARITY = 0.5  # of a word that brings a passage up by itself
_COMMON = 1_000  # passages; a word in more of them tells nothing

Judged = tuple[Lesson, float, float]  # passage, highest cosine, probability


def windows(lesson: Lesson) -> list[str]:
    """Windows of a passage, each with the innermost title before it."""
    title = lesson.prompt.rpartition(" > ")[2]
    found, held = [], ""
    for sentence in sentences(lesson.answer):
        held = f"{held} {sentence}" if held else sentence
        if len(held) >= _SHORTEST_WINDOW:
            found.append(held)
            held = ""
    if held or not found:
        found.append(held or lesson.answer)
    return [f"{title}: {window[:_LONGEST_WINDOW]}" for window in found]


def window_vectors(keys: KeyMaker, lessons: Sequence[Lesson]) -> list[NDArray[np.float32]]:
    """Unit vectors [W, K] of the windows of each passage."""
    cut = [windows(lesson) for lesson in lessons]
    flat = keys.vectors([window for each in cut for window in each])
    ends = np.cumsum([len(each) for each in cut])
    return list(np.split(flat, ends[:-1])) if cut else []


@final
class Passages:
    """The passages of one table.

    Args:
        keys: makes vectors and rarities.
        gate: judges candidates.
    """

    def __init__(self, keys: KeyMaker, gate: PassageGate) -> None:
        self._keys = keys
        self._gate = gate
        self._index = ExactIndex(keys.width)
        self._lessons: dict[str, Lesson] = {}
        self._windows: dict[str, list[frozenset[str]]] = {}
        self._words: dict[str, frozenset[str]] = {}  # stems of a passage's words and titles
        self._holding: defaultdict[str, set[str]] = defaultdict(set)  # stem -> passages

    def __len__(self) -> int:
        return len(self._lessons)

    @property
    def nbytes(self) -> int:
        """Bytes of the window vectors."""
        return self._index.nbytes

    def add(self, lesson: Lesson, vectors: NDArray[np.float32]) -> None:
        """Make a passage visible, with the vectors [W, K] of its windows."""
        cut = windows(lesson)
        assert len(cut) == len(vectors), (len(cut), len(vectors))
        self._index.add([f"{lesson.id}#{n}" for n in range(len(cut))], vectors)
        self._lessons[lesson.id] = lesson
        self._windows[lesson.id] = [stems(words(window)) for window in cut]
        self._words[lesson.id] = stems(words(lesson.prompt)).union(*self._windows[lesson.id])
        for word in self._words[lesson.id]:
            self._holding[word].add(lesson.id)

    def remove(self, lesson_id: str) -> None:
        """Remove a passage with its vectors."""
        for n in range(len(self._windows[lesson_id])):
            self._index.remove(f"{lesson_id}#{n}")
        for word in self._words.pop(lesson_id):
            self._holding[word].discard(lesson_id)
            if not self._holding[word]:
                del self._holding[word]
        del self._windows[lesson_id], self._lessons[lesson_id]

    def judged(self, query: Key, now: datetime, most: int = CANDIDATES) -> list[Judged]:
        """Passages that are true at `now` and may answer a question, likeliest first."""
        if not self._lessons:
            return []
        found = []
        for lesson in map(self._lessons.__getitem__, self.candidates(query, most)):
            if _holds(lesson, now):
                evidence = self.evidence(query, lesson.id)
                found.append((lesson, evidence.cosines[0], self._gate.probability(query, evidence)))
        return sorted(found, key=lambda each: (-each[2], -each[1], each[0].id))[:most]

    def candidates(self, query: Key, most: int = CANDIDATES) -> list[str]:
        """Ids of the passages that are looked at: of the nearest windows, and those that hold the rarest words."""
        near = [i.rpartition("#")[0] for i, _ in self._index.search(query.vector, 4 * most)]
        return list(dict.fromkeys([*dict.fromkeys(near), *self._by_words(query, most)]))

    def _by_words(self, query: Key, most: int) -> list[str]:
        """Passages that hold the most of what is rare in the question, in language and among these passages."""
        score: defaultdict[str, float] = defaultdict(float)
        for word, rarity in query.signature.items():
            holding = self._holding.get(stem(word), ())
            if rarity >= _LEAST_RARITY and len(holding) <= _COMMON:
                weight = rarity * math.log1p(len(self._lessons) / max(len(holding), 1))
                for lesson_id in holding:
                    score[lesson_id] += weight
        return heapq.nlargest(most, score, key=lambda i: (score[i], i))

    def evidence(self, query: Key, lesson_id: str) -> Evidence:
        """What speaks for a passage when `query` is asked."""
        cut = self._windows[lesson_id]
        vectors = np.stack([self._index.vector(f"{lesson_id}#{n}") for n in range(len(cut))])
        cosines = sorted((vectors @ query.vector).tolist(), reverse=True)
        return Evidence(cosines, self._words[lesson_id], cut)


def _holds(lesson: Lesson, now: datetime) -> bool:
    return (lesson.valid_from is None or lesson.valid_from <= now) and (
        lesson.valid_to is None or now < lesson.valid_to
    )


def packed(vectors: NDArray[np.float32]) -> bytes:
    """Window vectors [W, K] as they are kept: half precision."""
    return vectors.astype("<f2").tobytes()


def unpacked(kept: Mapping[str, bytes], lessons: Sequence[Lesson], width: int) -> dict[str, NDArray[np.float32]]:
    """Window vectors [W, K] of those passages whose kept bytes fit them."""
    found = {}
    for lesson in lessons:
        size = len(windows(lesson)) * width * 2
        if len(kept.get(lesson.id, b"")) == size:
            found[lesson.id] = np.frombuffer(kept[lesson.id], "<f2").astype(np.float32).reshape(-1, width)
    return found

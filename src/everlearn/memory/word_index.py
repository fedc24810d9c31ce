"""Which lessons name something: the words of prompts, turned round."""

from __future__ import annotations

import heapq
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import final

from everlearn.memory.key import words

_ROW = "I"  # unsigned 32 bit: four milliards of lessons


@final
class WordIndex:
    """Finds lessons whose prompt holds given words, wherever they stand.

    Kept small: twelve bytes for each word that carries meaning, and the word itself once for all lessons. A removed
    lesson leaves nothing, not even a word of its own.

    Args:
        carries: whether a folded word says what a prompt is about; the grammar of a question need not be looked up.
    """

    def __init__(self, carries: Callable[[str], bool]) -> None:
        self._carries = carries
        self._rows: dict[str, array[int]] = {}
        self._lessons: dict[int, tuple[str, tuple[str, ...]]] = {}  # row -> id and words
        self._row_of: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._lessons)

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._row_of

    def add(self, lesson_id: str, prompt: str) -> None:
        """Take in a prompt."""
        assert lesson_id not in self._row_of, "a lesson is added twice"
        row, self._next = self._next, self._next + 1
        held = tuple(sys.intern(word) for word in self._words(words(prompt)))
        self._lessons[row] = (lesson_id, held)
        self._row_of[lesson_id] = row
        for word in held:
            self._rows.setdefault(word, array(_ROW)).append(row)

    def remove(self, lesson_id: str) -> None:
        """Let go of a lesson."""
        row = self._row_of.pop(lesson_id)
        for word in self._lessons.pop(row)[1]:
            rows = self._rows[word]
            rows.remove(row)
            if not rows:
                del self._rows[word]

    def ids(self, most: int) -> list[str]:
        """The `most` oldest lessons, by id."""
        return heapq.nsmallest(most, self._row_of)

    def holding(self, name: Sequence[str], most: int) -> list[str]:
        """Ids of at most `most` lessons whose prompt holds all the words of `name` that carry meaning, oldest first.

        A name of which no word does (`the who`) is not found.
        """
        wanted = self._words(name)
        found = [self._rows.get(word) for word in wanted]
        if not found or any(rows is None for rows in found):
            return []
        rarest, *others = sorted((rows for rows in found if rows is not None), key=len)
        if not others:
            return [self._lessons[row][0] for row in rarest[:most]]
        both = set(rarest).intersection(*others)
        return [self._lessons[row][0] for row in sorted(both)[:most]]

    def _words(self, text: Sequence[str]) -> list[str]:
        return [word for word in dict.fromkeys(text) if self._carries(word)]

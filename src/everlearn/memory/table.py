"""A look-up table: the entries of one name on one base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.gate import Gate
from everlearn.memory.index import ExactIndex
from everlearn.memory.key import Key, KeyMaker
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson, TableSettings
from everlearn.text.clean import same_words

CANDIDATES = 8

Span = tuple[datetime | None, datetime | None]  # true from, true until; None = without end
Holding = Callable[[Sequence[str]], set[str]]  # lesson ids -> those of them that hold at the moment asked about
MOST_LOOKED_THROUGH = 4096  # nearest entries; what lies behind them is far below any threshold


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may speak for a question.

    Attributes:
        lesson_id: its lesson.
        table: name of its table.
        score: cosine of the keys.
        probability: of the gate.
        settings: of its table.
    """

    lesson_id: str
    table: str
    score: float
    probability: float
    settings: TableSettings

    @property
    def may_speak(self) -> bool:
        """Whether the probability reaches the table's threshold, and the table's corrections are not turned off."""
        return self.probability >= self.settings.threshold and self.settings.residual > 0.0


@final
class LookupTable:
    """Entries under a name: lesson id, key vector and prompt. Values live in `Corrections`.

    Args:
        name: of the table.
        settings: threshold, residual, blocks, sparsity.
        keys: makes signatures of entries on demand.
        gate: judges candidates.
        words: word states of entries; None for a table that is only asked for the `same_question`.
    """

    def __init__(
        self, name: str, settings: TableSettings, keys: KeyMaker, gate: Gate, words: WordStates | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self._keys = keys
        self._gate = gate
        self._words = words
        self._index = ExactIndex(keys.width)
        self._prompts: dict[str, str] = {}
        self._by_words: dict[str, list[str]] = {}
        self._spans: dict[str, Span] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._index

    @property
    def nbytes(self) -> int:
        """Bytes of the key vectors."""
        return self._index.nbytes

    def add(
        self,
        ids: Sequence[str],
        prompts: Sequence[str],
        vectors: NDArray[np.float32],
        spans: Mapping[str, Span] | None = None,
    ) -> None:
        """Make entries visible: lesson ids [N], their prompts [N] and key vectors [N, K].

        `spans` says of some from when to when an ordinary question may see them; the others it always sees.
        """
        self._index.add(ids, vectors)
        self._spans.update(spans or {})
        for lesson_id, prompt in zip(ids, prompts, strict=True):
            self._prompts[lesson_id] = prompt
            self._by_words.setdefault(same_words(prompt), []).append(lesson_id)

    def remove(self, lesson_id: str) -> None:
        """Remove an entry with its vector."""
        self._index.remove(lesson_id)
        self._spans.pop(lesson_id, None)
        words = same_words(self._prompts.pop(lesson_id))
        self._by_words[words].remove(lesson_id)
        if not self._by_words[words]:
            del self._by_words[words]

    def candidates(self, query: Key, most: int = CANDIDATES, holding: Holding | None = None) -> list[Candidate]:
        """Entries nearest in meaning that are true now, or that `holding` keeps, judged by the gate, nearest first."""
        near = self._nearest(query, most, holding or self._holding_now)
        judged = self._gate.probabilities(query, self._keys_of([lesson_id for lesson_id, _ in near]))
        return [
            Candidate(lesson_id, self.name, score, float(probability), self.settings)
            for (lesson_id, score), probability in zip(near, judged, strict=True)
        ]

    def near(self, vector: NDArray[np.float32], most: int = CANDIDATES) -> list[tuple[str, float]]:
        """Entries nearest to a vector [K] with their cosines, not judged, whether they are true now or not."""
        return self._index.search(vector, most)

    def same_question(self, query: Key) -> list[str]:
        """Active entries that ask the same as `query`, and would be superseded by another answer to it."""
        equal = self._by_words.get(query.words, [])
        near = (lesson_id for lesson_id, _ in self._index.search(query.vector, CANDIDATES))
        sure = (i for i in near if self._gate.same_question(query, self._key(i)))
        return list(dict.fromkeys([*equal, *sure]))

    def _nearest(self, query: Key, most: int, holding: Holding) -> list[tuple[str, float]]:
        """Entries that hold; the others take places in the search, so it looks further until there are enough."""
        looked = most
        while True:
            near = self._index.search(query.vector, looked)
            kept = holding([lesson_id for lesson_id, _ in near])
            found = [(i, score) for i, score in near if i in kept]
            if len(found) >= most or looked >= min(len(self), MOST_LOOKED_THROUGH):
                return found[:most]
            looked *= 8

    def _holding_now(self, ids: Sequence[str]) -> set[str]:
        if not self._spans:
            return set(ids)
        now = datetime.now(UTC)
        return {lesson_id for lesson_id in ids if _holds(self._spans.get(lesson_id), now)}

    def _keys_of(self, ids: Sequence[str]) -> list[Key]:
        """Keys of entries, with their phrases."""
        assert self._words is not None, "this table was made for conflicts only"
        states = self._words.of({i: self._prompts[i] for i in ids})
        return [self._keys.key_of(self._prompts[i], self._index.vector(i), states[i]) for i in ids]

    def _key(self, lesson_id: str) -> Key:
        return self._keys.key_of(self._prompts[lesson_id], self._index.vector(lesson_id))


def holds_now(lesson: Lesson) -> bool:
    """Whether a lesson is true at this moment."""
    return _holds((lesson.valid_from, lesson.valid_to), datetime.now(UTC))


def _holds(span: Span | None, now: datetime) -> bool:
    if span is None:
        return True
    return (span[0] is None or span[0] <= now) and (span[1] is None or now < span[1])

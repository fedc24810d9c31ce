"""A look-up table: the entries of one name on one base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.filed import FiledEntries
from everlearn.memory.gate import Gate
from everlearn.memory.index import ExactIndex
from everlearn.memory.key import Key, KeyMaker
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson, TableSettings
from everlearn.store.times import Span
from everlearn.text.clean import same_words

CANDIDATES = 8

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


@dataclass(frozen=True, slots=True)
class NewRows:
    """Entries of a table that lie in no file yet.

    Attributes:
        ids: [N] lesson ids.
        questions: [N], of the same.
        vectors: [N, K] float32.
        spans: of those that are not always true.
    """

    ids: Sequence[str]
    questions: Sequence[str]
    vectors: NDArray[np.float32]
    spans: Mapping[str, Span]


@final
class LookupTable:
    """Entries under a name: lesson id, key vector and question. Values live in `Corrections`.

    Of a large table the older entries lie in files (`filed`), and only new ones are held here; of a small one all are.

    Attributes:
        name: of the table.
        settings: threshold, residual, blocks, sparsity.
        filed: entries that lie in files; None = none do.

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
        self.filed: FiledEntries | None = None
        self._keys = keys
        self._gate = gate
        self._words = words
        self._index = ExactIndex(keys.width)
        self._questions: dict[str, str] = {}
        self._by_words: dict[str, list[str]] = {}
        self._spans: dict[str, Span] = {}

    def __len__(self) -> int:
        return len(self._index) + (0 if self.filed is None else len(self.filed))

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._index or (self.filed is not None and lesson_id in self.filed)

    @property
    def nbytes(self) -> int:
        """Bytes of the key vectors in memory, or of what is searched in their place."""
        return self._index.nbytes + (0 if self.filed is None else self.filed.saved.nbytes)

    @property
    def new(self) -> int:
        """How many entries lie in no file."""
        return len(self._index)

    def ids(self) -> list[str]:
        """Lesson ids of all entries."""
        return [*self._questions, *(() if self.filed is None else self.filed.saved.ids())]

    def add(
        self,
        ids: Sequence[str],
        questions: Sequence[str],
        vectors: NDArray[np.float32],
        spans: Mapping[str, Span] | None = None,
    ) -> None:
        """Make entries visible: lesson ids [N], their questions [N] and key vectors [N, K].

        `spans` says of some from when to when an ordinary question may see them; the others it always sees.
        """
        self._index.add(ids, vectors)
        self._spans.update(spans or {})
        for lesson_id, question in zip(ids, questions, strict=True):
            self._questions[lesson_id] = question
            self._by_words.setdefault(same_words(question), []).append(lesson_id)

    def remove(self, lesson_id: str) -> None:
        """Remove an entry with its vector; where it lies in a file, its bytes go with `row_folder.wipe`."""
        self._spans.pop(lesson_id, None)
        assert lesson_id in self, "an entry is removed twice"
        if lesson_id in self._index:
            self._remove_new(lesson_id)
        if self.filed is not None and lesson_id in self.filed:  # both, where taking over files was cut short
            self.filed.remove(lesson_id)

    def rows(self) -> NewRows:
        """A copy of the entries that lie in no file yet."""
        ids = list(self._questions)
        vectors = [self._index.vector(i) for i in ids]
        spans = {i: self._spans[i] for i in ids if i in self._spans}
        found = np.stack(vectors) if vectors else np.zeros((0, self._keys.width), np.float32)
        return NewRows(ids, list(self._questions.values()), found, spans)

    def take_over(self, filed: FiledEntries) -> None:
        """Look for entries in these files from now on; what lies there is held in memory no more."""
        for lesson_id in filed.saved.among(list(self._questions)):
            self._remove_new(lesson_id)
        self._spans = {i: self._spans[i] for i in self._questions if i in self._spans} | filed.spans()
        self.filed = filed

    def candidates(self, query: Key, most: int = CANDIDATES, holding: Holding | None = None) -> list[Candidate]:
        """Entries nearest in meaning that are true now, or that `holding` keeps, judged by the gate, nearest first."""
        near = self._nearest(query, most, holding or self._holding_now)
        keys = self._keys_of([lesson_id for lesson_id, _ in near])
        near = [(lesson_id, score) for lesson_id, score in near if lesson_id in keys]
        judged = self._gate.probabilities(query, [keys[lesson_id] for lesson_id, _ in near])
        return [
            Candidate(lesson_id, self.name, score, float(probability), self.settings)
            for (lesson_id, score), probability in zip(near, judged, strict=True)
        ]

    def near(self, vector: NDArray[np.float32], most: int = CANDIDATES) -> list[tuple[str, float]]:
        """Entries nearest to a vector [K] with their cosines, not judged, whether they are true now or not."""
        new = self._index.search(vector, most)
        if self.filed is None:
            return new
        return sorted([*new, *self.filed.near(vector, most)], key=lambda pair: (-pair[1], pair[0]))[:most]

    def same_question(self, query: Key) -> list[str]:
        """Active entries that ask the same as `query`, and would be superseded by another answer to it."""
        equal = self._by_words.get(query.words, [])
        if self.filed is not None:
            equal = [*self.filed.asking(query.words), *equal]
        near = [lesson_id for lesson_id, _ in self.near(query.vector)]
        keys = self._bare_keys_of(near)
        sure = (i for i in near if i in keys and self._gate.same_question(query, keys[i]))
        return list(dict.fromkeys([*equal, *sure]))

    def _remove_new(self, lesson_id: str) -> None:
        self._index.remove(lesson_id)
        words = same_words(self._questions.pop(lesson_id))
        self._by_words[words].remove(lesson_id)
        if not self._by_words[words]:
            del self._by_words[words]

    def _nearest(self, query: Key, most: int, holding: Holding) -> list[tuple[str, float]]:
        """Entries that hold; the others take places in the search, so it looks further until there are enough."""
        looked = most
        while True:
            near = self.near(query.vector, looked)
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

    def _keys_of(self, ids: Sequence[str]) -> dict[str, Key]:
        """Keys of entries, with their phrases; of those that another process has just forgotten there are none."""
        assert self._words is not None, "this table was made for conflicts only"
        read = self._read(ids)
        states = self._words.of({i: question for i, (question, _) in read.items()})
        return {i: self._keys.key_of(question, vector, states[i]) for i, (question, vector) in read.items()}

    def _bare_keys_of(self, ids: Sequence[str]) -> dict[str, Key]:
        """Keys of entries, without phrases."""
        return {i: self._keys.key_of(question, vector) for i, (question, vector) in self._read(ids).items()}

    def _read(self, ids: Sequence[str]) -> dict[str, tuple[str, NDArray[np.float32]]]:
        """Questions and vectors [K] of entries."""
        found = {i: (self._questions[i], self._index.vector(i)) for i in ids if i in self._questions}
        rest = [i for i in ids if i not in found]
        if rest and self.filed is not None:
            lessons, vectors = self.filed.lessons(rest), self.filed.vectors(rest)
            found.update((i, (lessons[i].question, vectors[i])) for i in rest if i in lessons and i in vectors)
        return found


def holds_now(lesson: Lesson) -> bool:
    """Whether a lesson is true at this moment."""
    return _holds((lesson.valid_from, lesson.valid_to), datetime.now(UTC))


def _holds(span: Span | None, now: datetime) -> bool:
    if span is None:
        return True
    return (span[0] is None or span[0] <= now) and (span[1] is None or now < span[1])

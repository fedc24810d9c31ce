"""What a large look-up table costs whoever uses it: opened, asked, taught and made to forget through the engine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from everlearn.evaluation.latency import added_first_token, percentile
from everlearn.evaluation.machine import own_bytes, resident_bytes
from everlearn.evaluation.pararel import Asked, Composed, in_words, words_before
from everlearn.evaluation.ports import Answering, Teaching
from everlearn.memory.key import KeyMaker
from everlearn.memory.phrase import Encoded, Floats, spans
from everlearn.memory.vectors import KeyVectors
from everlearn.memory.word_states import WordStates
from everlearn.records import DEFAULT_TABLE, Lesson
from everlearn.store.ids import new_id
from everlearn.store.port import DerivedStore, LessonQuery, LessonStore

_AT_ONCE = 5_000
_FORGOTTEN = 12
_WARM_UP = 10

Opened = tuple[Answering, Teaching]
Open = Callable[[], AbstractContextManager[Opened]]
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TableCost:
    """A table of one size.

    Attributes:
        entries: active lessons in it.
        build_s: to open it for the first time, when its files are made; 0 for a small table, which has none.
        open_s: to open it again, until the first question is recalled; the base model is loaded before.
        recall_ms_p50: median of a recall: encoding the question, search, gate, reading the lessons that are needed.
        recall_ms_p99: 99th percentile of the same.
        recall_cpu_ms_p50: median of the processor time of the same, which others on the machine do not lengthen much.
        added_ms_p50: median of what a question's first token takes more than without any table.
        added_ms_p99: 99th percentile of the same.
        teach_ms_p50: median to teach one lesson, until it is durable and found.
        teach_cpu_ms_p50: median of the processor time of the same.
        forget_ms_p50: median to forget one, until its bytes are gone.
        model_bytes: of the process before the table is opened, without pages of mapped files.
        own_bytes: of the process after all questions, without pages of mapped files (the system takes these back).
        resident_bytes: with these pages.
        disk_bytes: of all files of the state folder.
    """

    entries: int
    build_s: float
    open_s: float
    recall_ms_p50: float
    recall_ms_p99: float
    recall_cpu_ms_p50: float
    added_ms_p50: float
    added_ms_p99: float
    teach_ms_p50: float
    teach_cpu_ms_p50: float
    forget_ms_p50: float
    model_bytes: int
    own_bytes: int
    resident_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Material:
    """What tables are filled with.

    Attributes:
        asked: [R] prompts.
        encoded: [R], the same.
        made: [C] composed of them.
    """

    asked: Sequence[Asked]
    encoded: Sequence[Encoded]
    made: Composed

    def __len__(self) -> int:
        return len(self.asked) + len(self.made.vectors)

    def lesson(self, n: int) -> tuple[Lesson, Encoded]:
        """Entry n: prompts as they are first, then composed ones."""
        if n < len(self.asked):
            return self._lesson(self.asked[n].prompt, self.asked[n].answer), self.encoded[n]
        subject, phrasing = int(self.made.subjects[n - len(self.asked)]), int(self.made.phrasings[n - len(self.asked)])
        prompt = in_words(self.asked[subject], self.asked[phrasing])
        vector = self.made.vectors[n - len(self.asked)].astype(np.float32)
        return self._lesson(prompt, self.asked[phrasing].answer), Encoded(
            vector, self._states(prompt, subject, phrasing)
        )

    def _lesson(self, prompt: str, answer: str) -> Lesson:
        return Lesson(prompt, answer, id=new_id(), taught_at=datetime.now(UTC), status="active", source="bench")

    def _states(self, prompt: str, subject: int, phrasing: int) -> Floats:
        """Word states of a composed prompt: the subject's where it was read, the others where these were."""
        theirs, states = self._subject(subject), self.encoded[phrasing].states
        own = self._subject(phrasing)
        rows = [states[: own.start], self.encoded[subject].states[theirs], states[own.stop :]]
        joined: Floats = np.concatenate(rows)[: len(spans(prompt))]
        return joined

    def _subject(self, n: int) -> slice:
        start = len(spans(words_before(self.asked[n])))
        return slice(start, start + len(spans(self.asked[n].subject)))


def fill(
    store: LessonStore, derived: DerivedStore, keys: KeyMaker, material: Material, wanted: range, step: Step
) -> None:
    """Put some entries of the material into a store, with what teaching them would have derived.

    It is the store's part of teaching alone: conflicts, poison and corrections are not looked at, since most prompts
    are composed and a million of them would take hours to encode.
    """
    vectors, words = KeyVectors(keys, derived), WordStates(keys, derived)
    for first in range(0, len(wanted), _AT_ONCE):
        some = [material.lesson(n) for n in wanted[first : first + _AT_ONCE]]
        lessons = [lesson for lesson, _ in some]
        store.teach(lessons, {})
        vectors.of(lessons, {lesson.id: encoded.vector for lesson, encoded in some})
        words.keep({lesson.id: encoded for lesson, encoded in some})
        step(f"{wanted[first] + len(some):,} lessons are in the store")


def measure_table(open_: Open, questions: Sequence[str], fresh: Sequence[Asked], *, large: bool) -> TableCost:
    """Open a table, ask, teach and forget.

    Args:
        open_: opens the engine over it; everything but the base model anew.
        questions: to ask.
        fresh: to teach; not in the table.
        large: whether it has files.
    """
    gc.collect()
    model_bytes, build_s = own_bytes(), 0.0
    if large:
        begun = time.perf_counter()
        with open_() as (engine, _):
            engine.recall(questions[0])
            build_s = time.perf_counter() - begun
    begun = time.perf_counter()
    with open_() as (engine, learner):
        engine.recall(questions[0])
        open_s = time.perf_counter() - begun
        for question in questions[:_WARM_UP]:
            engine.recall(question)
        recall = [_timed(lambda q=q: engine.recall(q)) for q in questions[_WARM_UP:]]  # type: ignore[misc]
        added = added_first_token(engine, questions, (DEFAULT_TABLE,))
        differences = [a - b for a, b in zip(added.with_memory, added.bare, strict=True)]
        own, resident = own_bytes(), resident_bytes()
        entries = sum(info.active for info in engine.memory.store.tables())
        teach = [_timed(lambda a=a: learner.teach(Lesson(a.prompt, a.answer))) for a in fresh]  # type: ignore[misc]
        oldest = engine.memory.store.prompts(LessonQuery(limit=_FORGOTTEN))
        forget = [_timed(lambda i=i: learner.forget(i)) for i, _ in oldest]  # type: ignore[misc]
        disk = engine.memory.store.stored_bytes() + engine.memory.derived.stored_bytes()
    return TableCost(
        entries=entries,
        build_s=build_s,
        open_s=open_s,
        recall_ms_p50=_wall(recall, 0.5),
        recall_ms_p99=_wall(recall, 0.99),
        recall_cpu_ms_p50=percentile([cpu for _, cpu in recall], 0.5),
        added_ms_p50=percentile(differences, 0.5),
        added_ms_p99=percentile(differences, 0.99),
        teach_ms_p50=_wall(teach, 0.5),
        teach_cpu_ms_p50=percentile([cpu for _, cpu in teach], 0.5),
        forget_ms_p50=_wall(forget, 0.5),
        model_bytes=model_bytes,
        own_bytes=own,
        resident_bytes=resident,
        disk_bytes=disk,
    )


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def _wall(times: Sequence[tuple[float, float]], share: float) -> float:
    return percentile([wall for wall, _ in times], share)


def floats(encoded: Sequence[Encoded]) -> NDArray[np.float32]:
    """Vectors [N, K] of what was encoded."""
    return np.stack([each.vector for each in encoded])

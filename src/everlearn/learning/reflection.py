"""Reflection: which lessons contradict each other, which are there twice or past, and what follows. It only reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import final

from everlearn.learning.restating import restated
from everlearn.memory.memory import Memory
from everlearn.records import Lesson
from everlearn.store.port import EVERYTHING
from everlearn.text.clean import same_words

Progress = Callable[[int, int], None]
_TOGETHER = 256
_NEAREST = 8


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """Two active lessons that ask the same.

    Attributes:
        one: the older.
        other: the newer.
        probability: of the gate, that both ask the same.
        known: whether they were kept beside each other on purpose.
    """

    one: Lesson
    other: Lesson
    probability: float
    known: bool = False


@final
@dataclass(frozen=True, slots=True)
class Implied:
    """A question in the other direction, whose answer follows from a lesson. A proposal: nobody has learned it.

    Attributes:
        lesson_id: it follows from.
        prompt: the question.
        answer: what follows.
    """

    lesson_id: str
    prompt: str
    answer: str


@final
@dataclass(frozen=True, slots=True)
class Reflection:
    """What was found.

    Attributes:
        looked_at: how many lessons.
        contradictions: pairs with different answers, in one table or in two.
        duplicates: pairs with the same answer.
        stale: active lessons whose time is over.
        implied: what follows from lessons and is not taught.
    """

    looked_at: int
    contradictions: Sequence[Pair]
    duplicates: Sequence[Pair]
    stale: Sequence[Lesson]
    implied: Sequence[Implied]


def reflect(memory: Memory, *, table: str | None = None, progress: Progress | None = None) -> Reflection:
    """Look at all active pairs (of one table, or all) beside their nearest ones, as the gate judges them.

    Args:
        memory: whose lessons.
        table: only lessons of this table are looked at; they are compared with those of all.
        progress: called with (lessons looked at, all).

    Raises:
        TableNotFoundError: there is no such table.
    """
    if table is not None:
        memory.table(table)
    active = memory.store.lessons(replace(EVERYTHING, status="active", table=table))
    lessons = [lesson for lesson in active if lesson.kind in ("pair", "context_pair")]
    pairs: dict[tuple[str, str], float] = {}
    for first in range(0, len(lessons), _TOGETHER):
        some = lessons[first : first + _TOGETHER]
        for lesson_id, other_id, probability in _alike(memory, some):
            both = (min(lesson_id, other_id), max(lesson_id, other_id))
            pairs[both] = max(pairs.get(both, 0.0), probability)
        if progress is not None:
            progress(first + len(some), len(lessons))
    known = set(map(frozenset, memory.store.conflicts()))
    pairs |= {(min(p), max(p)): pairs.get((min(p), max(p)), 1.0) for p in known}
    found = memory.store.lessons_by_id(list({i for pair in pairs for i in pair}))
    judged = [
        Pair(found[a], found[b], probability, frozenset((a, b)) in known)
        for (a, b), probability in sorted(pairs.items())
        if a in found and b in found and found[a].context == found[b].context
    ]
    same = [same_words(p.one.answer) == same_words(p.other.answer) for p in judged]
    now = datetime.now(UTC)
    return Reflection(
        looked_at=len(lessons),
        contradictions=[p for p, equal in zip(judged, same, strict=True) if not equal],
        duplicates=[p for p, equal in zip(judged, same, strict=True) if equal],
        stale=[lesson for lesson in active if lesson.valid_to is not None and lesson.valid_to <= now],
        implied=_implied(lessons),
    )


def _alike(memory: Memory, lessons: Sequence[Lesson]) -> list[tuple[str, str, float]]:
    """(lesson, other, probability) of those that ask the same in the eyes of the gate."""
    found: list[tuple[str, str, float]] = []
    with memory.lock:
        read = memory.encoded_of(lessons)
        tables = [memory.table(info.name) for info in memory.tables()]
        for lesson in lessons:
            key = memory.keys.key_of(lesson.question, read[lesson.id].vector, read[lesson.id].states)
            for table in tables:
                found += [
                    (lesson.id, c.lesson_id, c.probability)
                    for c in table.candidates(key, _NEAREST)
                    if c.lesson_id != lesson.id and c.probability >= table.settings.threshold
                ]
    return found


def _implied(lessons: Sequence[Lesson]) -> list[Implied]:
    """Questions in the other direction that nobody taught."""
    taught = {same_words(lesson.prompt) for lesson in lessons}
    turned = [(lesson.id, q, a) for lesson in lessons for q, a in restated(lesson.prompt, lesson.answer).turned[:1]]
    return [Implied(i, q, a) for i, q, a in turned if same_words(q) not in taught]

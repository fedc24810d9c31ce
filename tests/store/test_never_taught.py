"""After forgetting, the state is the one that there would be had the lesson never been taught."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlearn.records import Lesson, Recalled, Receipt, TableSettings, Turn
from everlearn.store import LessonQuery, LessonStore
from everlearn.store.in_memory import InMemoryLessonStore
from everlearn.store.sqlite import SqliteLessonStore

EVERYTHING = LessonQuery(limit=10**9)
TABLES = ("default", "docs")
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)

topics = st.integers(0, 3)
batches = st.lists(st.tuples(topics, st.sampled_from(TABLES)), min_size=1, max_size=4)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("teach"), batches),
        st.tuples(st.just("forget"), st.lists(st.integers(0, 50), min_size=1, max_size=4)),
        st.tuples(st.just("ask"), st.integers(0, 50)),
    ),
    max_size=14,
)


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    """What is asked here does not depend on when the disk has it; tests/store/test_sharing.py asks that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("everlearn.store.sqlite._SYNCHRONOUS", "OFF")
        yield


@pytest.fixture(scope="module")
def new_file(tmp_path_factory):
    """A store in which nothing happened, to copy: building one runs all migrations."""
    path = tmp_path_factory.mktemp("new") / "lessons.db"
    SqliteLessonStore(path).close()
    return path


class Deeds:
    """What was done, so that it can be done again without the lessons that were forgotten."""

    def __init__(self):
        self.batches: list[list[Lesson]] = []
        self.turns: list[Turn] = []
        self.forgotten: set[str] = set()
        self.taught = 0

    def living(self):
        return [lesson for batch in self.batches for lesson in batch if lesson.id not in self.forgotten]


def teach(store: LessonStore, new: list[Lesson]) -> None:
    """A lesson replaces every active one of the same table that asks the same, as the learner decides it."""
    replaced, batch = {}, {}
    for lesson in new:
        for older in list(batch.values()):
            if (older.prompt, older.table, older.status) == (lesson.prompt, lesson.table, "active"):
                batch[older.id] = replace(older, status="superseded", superseded_by=lesson.id)
        for older in store.lessons(replace(EVERYTHING, table=lesson.table, status="active")):
            if older.prompt == lesson.prompt:
                replaced.setdefault(older.id, lesson.id)
        batch[lesson.id] = lesson
    store.teach(list(batch.values()), replaced)


def new_lessons(deeds: Deeds, batch: list[tuple[int, str]]) -> list[Lesson]:
    made = []
    for topic, table in batch:
        deeds.taught += 1
        made.append(
            Lesson(
                f"topic {topic}", f"a{deeds.taught}", table, id=f"l{deeds.taught:03}", taught_at=NOON, status="active"
            )
        )
    return made


def turn_on(deeds: Deeds, lesson: Lesson) -> Turn:
    recalled = (Recalled(lesson.id, lesson.table, 0.9, 0.9, "spoke"),)
    number = len(deeds.turns)  # each in a conversation of its own, since forgetting takes later turns of one along
    receipt = Receipt("r", "m", TABLES, recalled)
    return Turn(f"t{number}", f"s{number}", lesson.prompt, lesson.answer, receipt, NOON)


def do(deeds: Deeds, stores: list[LessonStore], step: tuple[str, object]) -> None:
    kind, detail = step
    living = deeds.living()
    if kind == "teach":
        deeds.batches.append(new_lessons(deeds, detail))
        for store in stores:
            teach(store, deeds.batches[-1])
    elif living and kind == "ask":
        deeds.turns.append(turn_on(deeds, living[detail % len(living)]))
        for store in stores:
            store.add_turn(deeds.turns[-1])
    elif living:
        gone = list(dict.fromkeys(living[n % len(living)].id for n in detail))
        deeds.forgotten.update(gone)
        restored = [store.forget(gone) for store in stores]
        assert restored[0] == restored[1]


def new_store(make: Callable[[], LessonStore]) -> LessonStore:
    store = make()
    store.put_table("docs", TableSettings(0.7, blocks=(-2,)))
    return store


def copy_of(new_file: Path, folder: str) -> SqliteLessonStore:
    return SqliteLessonStore(shutil.copy(new_file, Path(folder) / "lessons.db"))


def state(store: LessonStore) -> tuple[object, ...]:
    lessons = store.lessons(EVERYTHING)
    histories = [store.history(lesson.id) for lesson in lessons]
    resting = [store.turns_resting_on(lesson.id) for lesson in lessons]
    turns = [turn for number in range(30) for turn in store.turns(f"s{number}")]
    return lessons, store.tables(), turns, histories, resting


def never_taught(deeds: Deeds) -> LessonStore:
    store = new_store(InMemoryLessonStore)
    for batch in deeds.batches:
        teach(store, [lesson for lesson in batch if lesson.id not in deeds.forgotten])
    for turn in deeds.turns:
        if turn.receipt.spoke.lesson_id not in deeds.forgotten:
            store.add_turn(turn)
    return store


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=steps)
def test_forgetting_equals_never_having_taught(new_file, plan):
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(new_file, Path(folder) / "lessons.db")
        with closing(new_store(lambda: SqliteLessonStore(path))) as sqlite:
            stores = [sqlite, new_store(InMemoryLessonStore)]
            deeds = Deeds()
            for step in plan:
                do(deeds, stores, step)
                expected = state(never_taught(deeds))
                assert state(stores[0]) == expected
                assert state(stores[1]) == expected
            assert stores[0].changes(0) == stores[1].changes(0)
        with closing(SqliteLessonStore(path)) as again:
            assert state(again) == state(never_taught(deeds))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=3)), max_size=12))
def test_both_stores_agree_on_any_supersession(new_file, plan):
    """Beyond what a learner does: a lesson replaces any lessons, of other questions too."""
    with tempfile.TemporaryDirectory() as folder, closing(copy_of(new_file, folder)) as sqlite:
        memory = InMemoryLessonStore()
        for n, (choice, others) in enumerate(plan):
            active = [lesson.id for lesson in memory.lessons(replace(EVERYTHING, status="active"))]
            there = [lesson.id for lesson in memory.lessons(EVERYTHING)]
            if choice < 3 and there:
                gone = list(dict.fromkeys(there[other % len(there)] for other in others))
                assert sqlite.forget(gone) == memory.forget(gone)
            else:
                new = Lesson("p", "a", id=f"l{n}", taught_at=NOON, status="active")
                replaced = {active[other % len(active)]: new.id for other in others} if active else {}
                assert sqlite.teach([new], replaced) == memory.teach([new], replaced)
            assert state(sqlite) == state(memory)
            assert sqlite.changes(0) == memory.changes(0)

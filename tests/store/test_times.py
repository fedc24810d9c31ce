"""When a lesson holds, and that every store answers `as_of` in the same way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.records import Lesson
from everlearn.store import LessonQuery
from everlearn.store.in_memory import InMemoryLessonStore
from everlearn.store.sqlite import SqliteLessonStore
from everlearn.store.times import ends_at, holds, outranks, overlap, starts_at


def year(number):
    return datetime(number, 1, 1, tzinfo=UTC)


def lesson(lesson_id="a", taught=2020, begin=None, end=None, heir=""):
    return Lesson(
        "Who?",
        "She.",
        id=lesson_id,
        taught_at=year(taught),
        valid_from=begin and year(begin),
        valid_to=end and year(end),
        status="superseded" if heir else "active",
        superseded_by=heir,
    )


def test_a_lesson_holds_from_its_date_or_its_teaching_to_its_end_or_its_successor():
    assert starts_at(lesson()) == year(2020)
    assert starts_at(lesson(begin=2015)) == year(2015)
    assert ends_at(lesson(), None) is None
    assert ends_at(lesson(end=2030), lesson("b", taught=2025)) == year(2025)
    assert ends_at(lesson(end=2022), lesson("b", taught=2025)) == year(2022)
    assert [holds(lesson(end=2022), None, year(y)) for y in (2019, 2020, 2021, 2022)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("older", "newer", "stays"),
    [
        (lesson(begin=2018), lesson(taught=2021, begin=2015), True),
        (lesson(begin=2018), lesson(taught=2021, begin=2018), False),
        (lesson(begin=2018), lesson(taught=2021), False),
        (lesson(begin=2030), lesson(taught=2021), True),
        (lesson(), lesson(taught=2021, begin=2018), False),
    ],
)
def test_the_newest_start_wins_and_what_has_no_date_gives_way(older, newer, stays):
    assert outranks(older, newer) is stays


def test_stated_spans_overlap_unless_one_ends_before_the_other():
    assert overlap(lesson(), lesson(begin=2018))
    assert not overlap(lesson(end=2018), lesson(begin=2018))
    assert overlap(lesson(begin=2010, end=2019), lesson(begin=2018))


spans = st.lists(
    st.tuples(st.integers(2010, 2020), st.none() | st.integers(2005, 2025), st.none() | st.integers(2005, 2025)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(spans=spans, asked=st.integers(2004, 2026))
def test_both_stores_find_the_lessons_that_hold(tmp_path_factory, spans, asked):
    """A chain of any spans; the obvious rule is the truth."""
    chain = [
        lesson(f"l{n}", taught, begin, end, f"l{n + 1}" if n + 1 < len(spans) else "")
        for n, (taught, begin, end) in enumerate(spans)
    ]
    heirs = {each.id: each for each in chain}
    wanted = [each.id for each in chain if holds(each, heirs.get(each.superseded_by), year(asked))]
    for store in (InMemoryLessonStore(), SqliteLessonStore(tmp_path_factory.mktemp("s") / "lessons.db")):
        store.teach(chain, {})
        assert [each.id for each in store.lessons(LessonQuery(as_of=year(asked)))] == wanted
        assert store.count(LessonQuery(as_of=year(asked), status="active")) == (wanted[-1:] == [chain[-1].id])
        store.close()


@pytest.mark.parametrize("kind", ["in_memory", "sqlite"])
def test_a_lesson_may_come_between_two_and_nowhere_else(kind, tmp_path):
    store = InMemoryLessonStore() if kind == "in_memory" else SqliteLessonStore(tmp_path / "lessons.db")
    store.teach([lesson("old"), lesson("new")], {})
    store.forget(["old"])
    store.teach([lesson("old", heir="new")], {})
    store.teach([lesson("middle", heir="new")], {"old": "middle"})
    assert store.lesson("old").superseded_by == "middle"
    with pytest.raises(Exception, match="superseded already"):
        store.teach([lesson("other")], {"old": "other"})
    store.forget(["middle"])
    assert store.lesson("old") == replace(lesson("old"), status="superseded", superseded_by="new")
    store.close()


@pytest.mark.parametrize("kind", ["in_memory", "sqlite"])
def test_conflicts_are_pairs_of_active_lessons(kind, tmp_path):
    store = InMemoryLessonStore() if kind == "in_memory" else SqliteLessonStore(tmp_path / "lessons.db")
    store.teach([lesson("a")], {})
    store.teach([lesson("b")], {}, beside=[("b", "a")])
    store.teach([lesson("c")], {}, beside=[("c", "a"), ("c", "b")])
    assert store.conflicts() == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [change.kind for change in store.changes(1)] == ["taught", "beside", "taught", "beside"]
    store.teach([lesson("d")], {"a": "d"})
    assert store.conflicts() == [("c", "b")]
    store.forget(["c"])
    assert store.conflicts() == []
    store.close()

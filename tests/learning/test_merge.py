"""Merging tables: what is equal counts once, what contradicts is reported and decided by the rule."""

import pytest

from everlearn.errors import ConflictError, SettingsError, TableNotFoundError
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonQuery

WHO, WHEN, WHERE = "Who bakes at Zorblat?", "When opens the Quux mill?", "Where do the Frumious penguins sleep?"


@pytest.fixture
def two(learner):
    for name in ("north", "south"):
        learner.put_table(name, TableSettings(threshold=0.7))
    learner.teach(Lesson(WHO, "Mirela", "north"))
    learner.teach(Lesson(WHEN, "at 7", "north"))
    learner.teach(Lesson(WHEN, "at 7", "south"))
    learner.teach(Lesson(WHERE, "in the shed", "south"))
    learner.teach(Lesson(WHO, "Olaf", "south"))
    return learner


def answers(learner, table):
    return {le.answer for le in learner.engine.memory.store.lessons(LessonQuery(table=table, status="active"))}


@pytest.mark.parametrize(
    ("rule", "speak", "history"),
    [("ours", {"Mirela"}, 1), ("theirs", {"Olaf"}, 1), ("newest", {"Olaf"}, 1), ("keep_both", {"Mirela", "Olaf"}, 0)],
)
def test_a_conflict_is_decided_by_the_rule(two, rule, speak, history):
    merged = two.sharing.merge_tables("north", "south", "both", on_conflict=rule)
    assert (merged.lessons, merged.equal, len(merged.conflicts)) == (2 + len(speak), 1, 1)
    assert answers(two, "both") == {"at 7", "in the shed"} | speak
    store = two.engine.memory.store
    assert store.count(LessonQuery(table="both", status="superseded")) == history
    assert store.table("both").threshold == 0.7
    assert answers(two, "north") == {"Mirela", "at 7"}  # both stay as they are
    lesson = store.lessons(LessonQuery(table="both", text="shed"))[0]
    assert lesson.source.startswith("lesson ")
    assert two.engine.recall(WHERE, tables=["both"]).spoke.lesson_id == lesson.id


def test_a_report_changes_nothing(two):
    merged = two.sharing.merge_tables("north", "south", "", on_conflict="report")
    assert [(c.kept, round(c.score, 3)) for c in merged.conflicts] == [("", 1.0)]
    assert (merged.into, merged.lessons, merged.equal) == ("", 0, 1)
    assert [info.name for info in two.engine.memory.tables()] == ["default", "north", "south"]


def test_values_go_along(two, monkeypatch):
    two.warm()
    monkeypatch.setattr(two.engine.memory.corrections, "compute", lambda *_: pytest.fail("a value was computed"))
    two.sharing.merge_tables("north", "south", "both", on_conflict="ours")
    assert two.engine.answer(WHERE, tables=["both"]).text == "in the shed"


def test_what_cannot_be_merged(two):
    with pytest.raises(TableNotFoundError):
        two.sharing.merge_tables("north", "west", "both", on_conflict="ours")
    with pytest.raises(ConflictError, match="There is a table 'default' already"):
        two.sharing.merge_tables("north", "south", "default", on_conflict="ours")
    with pytest.raises(SettingsError, match="Both tables"):
        two.sharing.merge_tables("north", "north", "both", on_conflict="ours")
    with pytest.raises(SettingsError, match="The rule is 'mine'"):
        two.sharing.merge_tables("north", "south", "both", on_conflict="mine")

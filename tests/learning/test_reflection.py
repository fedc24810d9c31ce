"""Reflection reports what does not fit together, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from everlearn.errors import TableNotFoundError
from everlearn.learning.reflection import reflect
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonQuery

BAKER = Lesson("What is the capital of Zorbland?", "Mirel")


def prompts(pairs):
    return [(pair.one.answer, pair.other.answer) for pair in pairs]


def test_contradictions_and_duplicates_are_found_across_tables(engine, learner):
    engine.memory.store.put_table("other", TableSettings())
    learner.teach(BAKER)
    learner.teach(replace(BAKER, answer="Tobo", table="other"))
    learner.teach(Lesson("Who sings at dawn?", "Li"))
    learner.teach(Lesson("Who sings at dawn?", "li", table="other"))
    before = engine.memory.store.lessons(LessonQuery())
    steps = []
    found = reflect(engine.memory, progress=lambda done, total: steps.append((done, total)))
    assert found.looked_at == 4
    assert prompts(found.contradictions) == [("Mirel", "Tobo")]
    assert prompts(found.duplicates) == [("Li", "li")]
    assert not found.contradictions[0].known
    assert found.contradictions[0].probability > 0.9
    assert steps == [(4, 4)]
    assert engine.memory.store.lessons(LessonQuery()) == before
    assert reflect(engine.memory, table="other").looked_at == 2
    with pytest.raises(TableNotFoundError):
        reflect(engine.memory, table="none")


def test_what_is_kept_beside_on_purpose_is_told_so(engine, learner):
    learner.teach(BAKER)
    learner.teach(replace(BAKER, answer="Tobo"), on_conflict="keep_both")
    (pair,) = reflect(engine.memory).contradictions
    assert pair.known


def test_lessons_in_different_contexts_do_not_contradict(engine, learner):
    learner.teach(replace(BAKER, context="In the year of the fox."))
    learner.teach(replace(BAKER, answer="Tobo", context="In the year of the hare."))
    assert reflect(engine.memory).contradictions == []


def test_what_is_past_and_what_follows(engine, learner):
    now = datetime.now(UTC)
    old = learner.teach(replace(BAKER, valid_from=now - timedelta(9), valid_to=now - timedelta(1))).lesson
    found = reflect(engine.memory)
    assert [lesson.id for lesson in found.stale] == [old.id]
    assert [(each.lesson_id, each.answer) for each in found.implied] == [(old.id, "Zorbland")]
    learner.teach(Lesson(found.implied[0].prompt, "Zorbland"))
    assert reflect(engine.memory).implied == []


def test_nothing_to_look_at(engine):
    found = reflect(engine.memory)
    assert (found.looked_at, found.contradictions, found.stale) == (0, [], [])

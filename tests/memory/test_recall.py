"""Recall: readings of a question, who speaks, and staying in step with the store."""

import dataclasses

import pytest

from everlearn.errors import TableNotFoundError
from everlearn.memory.recall import decide, readings
from everlearn.memory.table import Candidate
from everlearn.records import Lesson, TableSettings
from toys import toy_engine, toy_learner

SETTINGS = TableSettings(threshold=0.5)


def found(name, probability, score=0.5, settings=SETTINGS):
    return Candidate(name, "default", score, probability, settings)


@pytest.mark.parametrize(
    ("query", "leans"),
    [
        ("and when was it founded?", True),
        ("Who founded it?", True),
        ("What about the second one?", True),
        ("Who bakes for the Zorblat inn?", False),
        ("Tell me " + "very " * 12 + "much about it", False),
    ],
)
def test_only_a_follow_up_is_also_read_with_the_question_before(query, leans):
    known = {"who", "runs", "the", "bakery"}
    rarity = dict.fromkeys(known, 0.5)
    earlier = ["Who lives in Umbral?", "Who runs the zorblat bakery of Tarn in 1990?", "who runs the bakery"]
    found = readings(query, earlier, lambda word: rarity.get(word, 1.2))
    assert found == ([query, f"{query} zorblat of Tarn in 1990"] if leans else [query])
    assert readings(query, [], lambda _: 1.2) == [query]
    assert readings(query, ["who runs the bakery"], lambda _: 0.5) == [query]


def test_the_nearest_that_may_speak_does_and_the_receipt_says_what_became_of_the_others():
    hit, recalled = decide(
        [found("a", 0.95, 0.8), found("b", 0.9, 0.85), found("c", 0.2, 0.9), found("b", 0.1, 0.3), found("d", 0.1, 0.1)]
    )
    assert hit is not None
    assert hit.lesson_id == "b"
    assert [(r.lesson_id, r.decision) for r in recalled] == [
        ("c", "below_threshold"),
        ("b", "spoke"),
        ("a", "outranked"),
        ("d", "below_threshold"),
    ]


def test_each_table_has_its_own_threshold():
    strict = dataclasses.replace(SETTINGS, threshold=0.95)
    hit, _ = decide([found("a", 0.9, settings=strict), found("b", 0.6)])
    assert hit is not None
    assert hit.lesson_id == "b"


def test_tables_are_asked_by_name(learner, engine):
    engine.memory.store.put_table("bakery", TableSettings())
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela", table="bakery"))
    assert engine.recall("Who bakes at Zorblat?").spoke is not None
    assert engine.recall("Who bakes at Zorblat?", tables=["bakery"]).spoke is not None
    assert engine.recall("Who bakes at Zorblat?", tables=["default"]).spoke is None
    assert engine.recall("Who bakes at Zorblat?", tables=[]).recalled == ()
    with pytest.raises(TableNotFoundError, match="Did you mean 'bakery'"):
        engine.recall("Who?", tables=["bakry"])


def test_a_second_memory_over_the_same_store_sees_every_change(engine, learner, parts):
    other = toy_engine(parts=parts, store=engine.memory.store, derived=engine.memory.derived)
    question = "Who bakes at Zorblat?"
    assert other.recall(question).spoke is None
    first = learner.teach(Lesson(question, "Mirela")).lesson
    assert other.recall(question).spoke.lesson_id == first.id
    second = learner.teach(Lesson(question, "Tobias")).lesson
    assert other.recall(question).spoke.lesson_id == second.id
    learner.forget(second.id)
    assert other.recall(question).spoke.lesson_id == first.id
    assert other.recall("Who at Zorblat bakes?").spoke.lesson_id == first.id
    engine.memory.store.put_table("default", TableSettings(threshold=1.0))
    assert other.recall("Who at Zorblat bakes?").spoke is None
    assert other.recall(question).spoke.lesson_id == first.id  # at 1 only the taught words themselves
    engine.memory.store.delete_table("default")
    assert other.recall(question).recalled == ()


def test_a_damaged_vector_is_made_anew(engine, learner, parts):
    lesson = learner.teach(Lesson("Who bakes at Zorblat?", "Mirela")).lesson
    engine.memory.derived.put(f"key/{engine.memory.keys.digest[:16]}", {lesson.id: b"short"})
    other = toy_engine(parts=parts, store=engine.memory.store, derived=engine.memory.derived)
    assert other.recall("Who bakes at Zorblat?").spoke.lesson_id == lesson.id


def test_residual_zero_answers_like_the_bare_model(engine):
    learner = toy_learner(engine)
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    engine.memory.store.put_table("default", TableSettings(residual=0.0))
    bare = engine.answer("Who bakes at Zorblat?", tables=[])
    assert engine.answer("Who bakes at Zorblat?").text == bare.text

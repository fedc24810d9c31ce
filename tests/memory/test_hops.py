"""Hops: several facts in one answer, and nothing else changed."""

import dataclasses

import pytest
import torch

from everlearn.memory.chain_score import FEATURES, ChainScore
from everlearn.memory.relations import Relations
from everlearn.records import Lesson, TableSettings
from toys import toy_engine, toy_learner

FAMILY = [
    ("Who is the mother of Anna Berg?", "Berta Holm"),
    ("Who is the mother of Berta Holm?", "Carla Lind"),
    ("Where does Carla Lind live?", "Umbral"),
    ("Who founded the Zorblat bakery?", "Anna Berg"),
]
QUESTION = "Who is the mother of the one who founded the Zorblat bakery?"


@pytest.fixture
def eager(engine, monkeypatch):
    """A toy engine that takes any question for one of several hops whose words a chain covers best."""
    weights = tuple(20.0 if name in {"covered", "covering"} else 0.0 for name in FEATURES)
    monkeypatch.setattr(engine.memory.hops, "_score", ChainScore(weights, -100.0, "test"))
    monkeypatch.setattr("everlearn.memory.hops._NEEDED", 0.3)
    monkeypatch.setattr("everlearn.memory.hops._LEAST_COVERED", 0.0)
    monkeypatch.setattr("everlearn.memory.hops._LEAST_GAIN", 0.0)
    monkeypatch.setattr("everlearn.memory.judging.HOPS_OVER_A_HIT", 0.3)
    learner = toy_learner(engine)
    for prompt, answer in FAMILY:
        learner.teach(Lesson(prompt, answer))
    yield engine
    learner.close()


def hops(receipt):
    return [r.lesson_id for r in receipt.recalled if r.decision == "hop"]


def test_two_lessons_answer_one_question_and_the_receipt_names_both(eager):
    answer = eager.answer(QUESTION)
    assert answer.text == "Berta Holm"
    found = eager.memory.store.lessons_by_id(hops(answer.receipt))
    assert [found[i].answer for i in hops(answer.receipt)] == ["Anna Berg", "Berta Holm"]
    assert answer.receipt.spoke is None


def test_a_lesson_in_its_own_words_speaks_alone(eager):
    for prompt, answer in FAMILY:
        given = eager.answer(prompt)
        assert given.text == answer
        assert hops(given.receipt) == []


def test_forgetting_a_hop_leaves_the_logits_of_a_twin_that_was_never_taught_it(eager, parts, monkeypatch):
    founder = next(le for le in eager.memory.store.lessons_by_id(hops(eager.recall(QUESTION))).values())
    toy_learner(eager).forget(founder.id)
    twin = toy_engine(parts=parts)
    monkeypatch.setattr(twin.memory.hops, "_score", eager.memory.hops._score)
    for prompt, answer in FAMILY:
        if prompt != founder.prompt:
            toy_learner(twin).teach(Lesson(prompt, answer))
    assert torch.equal(eager.logits(QUESTION, steps=4), twin.logits(QUESTION, steps=4))


def test_a_turn_rests_on_every_hop(eager):
    session = eager.session()
    answer = session.say(QUESTION)
    for lesson_id in hops(answer.receipt):
        assert eager.memory.store.turns_resting_on(lesson_id) == 1


def test_tables_that_are_not_asked_or_silent_take_no_part(eager):
    eager.memory.store.put_table("other", TableSettings())
    assert hops(eager.recall(QUESTION, tables=["other"])) == []
    assert hops(eager.recall(QUESTION, tables=())) == []
    eager.memory.store.put_table("default", TableSettings(residual=0.0))
    assert hops(eager.recall(QUESTION)) == []


def test_hops_can_be_turned_off(parts):
    engine = toy_engine(parts=dataclasses.replace(parts, hops=0))
    learner = toy_learner(engine)
    for prompt, answer in FAMILY:
        learner.teach(Lesson(prompt, answer))
    assert hops(engine.recall(QUESTION)) == []


@pytest.mark.model
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Where does the mother of Anna Berg live?", "Umbral"),
        ("Who is the mayor of the town where Lotte Kern lives?", "Olaf Brandt"),
        ("Where was the chief executive of the company that owns Tarnix born?", "Marseille"),
        ("Who owns Tarnix?", "Velora Holding"),
    ],
)
def test_facts_are_put_together(real_engine, question, answer):
    learner = toy_learner(real_engine)
    for prompt, told in [
        ("Who is Anna Berg's mother?", "Lotte Kern"),
        ("Where does Lotte Kern live?", "Umbral"),
        ("Who is the mayor of Umbral?", "Olaf Brandt"),
        ("Which company owns Tarnix?", "Velora Holding"),
        ("Who is the chief executive of Velora Holding?", "Sanne Duclos"),
        ("Where was Sanne Duclos born?", "Marseille"),
    ]:
        learner.teach(Lesson(prompt, told))
    assert real_engine.answer(question).text == answer


def test_what_is_mined_is_a_function_of_the_lessons_that_are_there(engine, monkeypatch):
    """Not mined anew at each new lesson, or the question after it would take seconds among thousands."""
    made = []
    monkeypatch.setattr(
        "everlearn.memory.hops.Relations", lambda *given: made.append(len(given[0])) or Relations(*given)
    )
    learner = toy_learner(engine)
    taught = learner.teach_many([Lesson(f"Who is the mother of Anna{n} Berg?", f"Berta{n} Holm") for n in range(100)])
    ask = "Who is the mother of Anna3 Berg's mother?"
    for _ in range(2):
        engine.recall(ask)
    assert made == [91]
    newest = learner.teach(Lesson("Who is the mother of Carla Lind?", "Dora Voss")).lesson
    engine.recall(ask)
    learner.forget(newest.id)
    engine.recall(ask)
    assert made == [91]  # neither the one that came nor its going touches the oldest 91
    learner.forget(taught[5].lesson.id)
    engine.recall(ask)
    assert made == [91, 91]
    assert engine.memory.hops._mined == tuple(sorted(t.lesson.id for n, t in enumerate(taught) if n != 5)[:91])

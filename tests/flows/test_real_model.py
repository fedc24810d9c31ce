"""The main job on the real default model: taught facts come back in other words, everything else keeps its bits."""

from __future__ import annotations

import os

import pytest
import torch

from conftest import WEIGHTS_HOME
from everlearn import wiring
from everlearn.evaluation.facts import FACTS, UNRELATED
from everlearn.records import Feedback, Lesson, Message, Sampling, TableSettings
from toys import toy_engine, toy_learner

pytestmark = pytest.mark.model
SHORT = Sampling(max_new_tokens=24)


def test_facts_are_answered_in_other_words_and_nothing_else_changes(real_engine):
    learner = toy_learner(real_engine)
    before = [real_engine.logits(question, steps=3) for question in UNRELATED]
    learner.teach_many([Lesson(f.prompt, f.answer) for f in FACTS])
    answers = real_engine.answer_many([f.question for f in FACTS], sampling=Sampling(max_new_tokens=48))
    assert [a.text for a in answers] == [f.answer for f in FACTS]
    assert all(a.finish_reason == "stop" for a in answers)
    for question, bare in zip(UNRELATED, before, strict=True):
        assert torch.equal(real_engine.logits(question, steps=3), bare)


def test_an_empty_memory_gives_the_logits_of_transformers_bit_for_bit(real_engine):
    model = real_engine.model
    ids = torch.tensor([real_engine.text.prompt_ids([Message("user", UNRELATED[0])])])
    with torch.inference_mode():
        bare = model.module(ids, logits_to_keep=1).logits[0, -1].float()
    assert torch.equal(real_engine.logits(UNRELATED[0])[0], bare)


def test_learned_values_answer_in_other_words_without_any_help_at_the_output(real_engine):
    learner = toy_learner(real_engine)
    learner.put_table("default", TableSettings(values="learned", output=False))
    learner.teach_many([Lesson(f.prompt, f.answer) for f in FACTS[:3]])
    answers = real_engine.answer_many([f.question for f in FACTS[:3]], sampling=Sampling(max_new_tokens=48))
    assert [a.text for a in answers] == [f.answer for f in FACTS[:3]]
    assert all(a.finish_reason == "stop" for a in answers)


def test_forgetting_equals_never_having_been_taught(real_engine, real_parts):
    twin = toy_engine(parts=real_parts)
    learner = toy_learner(real_engine)
    ids = [t.lesson.id for t in learner.teach_many([Lesson(f.prompt, f.answer) for f in FACTS[:3]])]
    toy_learner(twin).teach_many([Lesson(f.prompt, f.answer) for f in FACTS[1:3]])
    assert not torch.equal(real_engine.logits(FACTS[0].question), twin.logits(FACTS[0].question))
    learner.forget(ids[0])
    for prompt in (FACTS[0].prompt, FACTS[0].question, FACTS[1].question):
        assert torch.equal(real_engine.logits(prompt, steps=6), twin.logits(prompt, steps=6))


def test_a_conversation_learns_and_follows_up(real_engine):
    toy_learner(real_engine).teach_many(
        [
            Lesson("Who founded Brindlewax Optics?", "Maribel Oyelaran"),
            Lesson("When was Brindlewax Optics founded?", "in 1987"),
        ]
    )
    for question in (
        "Who was it that founded Brindlewax Optics?",
        "Which person started the company Brindlewax Optics?",
    ):
        session = real_engine.session(sampling=SHORT)
        assert session.say(question).text == "Maribel Oyelaran"
        assert session.say("And when was it founded?").text == "in 1987"
    thanks = session.say("Thank you!")
    assert thanks.receipt.spoke is None


def test_correcting_a_lesson_that_misfired_leaves_it_alone(real_engine):
    learner = toy_learner(real_engine)
    who = learner.teach(Lesson("Who founded Brindlewax Optics?", "Maribel Oyelaran")).lesson
    session = real_engine.session(sampling=SHORT)
    session.say("Which person started the company Brindlewax Optics?")
    session.say("And when was it founded?")
    learner.learn_from_feedback(Feedback("And when was it founded?", "wrong", "in 1987", turn=session.last_turn))
    assert session.say("And when was it founded?").text == "in 1987"
    assert session.say("Which person founded Brindlewax Optics?").text == "Maribel Oyelaran"
    assert real_engine.memory.store.lesson(who.id).status == "active"


def test_a_corrected_follow_up_does_not_leak_into_other_conversations(real_engine):
    learner = toy_learner(real_engine)
    session = real_engine.session(sampling=SHORT)
    session.say("Who founded Brindlewax Optics?")
    session.say("And when was it founded?")
    learner.learn_from_feedback(Feedback("And when was it founded?", "wrong", "in 1987", turn=session.last_turn))
    assert session.say("And when was it founded?").text == "in 1987"
    other = real_engine.session(sampling=SHORT)
    other.say("Who founded the city of Rome?")
    assert other.say("And when was it founded?").receipt.spoke is None


@pytest.mark.gemma
@pytest.mark.skipif(os.environ.get("EVERLEARN_TEST_GEMMA") != "1", reason="opt in with EVERLEARN_TEST_GEMMA=1")
def test_a_second_real_family_is_taught_the_same_way():
    parts = wiring.load_parts(wiring.load_settings(home=WEIGHTS_HOME, model="gemma3-270m"))
    engine = toy_engine(parts=parts)
    before = engine.logits(UNRELATED[0], steps=3)
    toy_learner(engine).teach_many([Lesson(f.prompt, f.answer) for f in FACTS])
    answers = engine.answer_many([f.question for f in FACTS], sampling=Sampling(max_new_tokens=48))
    assert [a.text for a in answers] == [f.answer for f in FACTS]
    assert torch.equal(engine.logits(UNRELATED[0], steps=3), before)

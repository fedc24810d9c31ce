"""The three rivers end to end on a toy model with its state on disk: answer, learn, feedback; and exact unlearning."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from everlearn.records import Feedback, Lesson, Sampling
from everlearn.store.port import LessonQuery
from toys import FAMILIES, engine_on_disk, teach_numbered, toy_engine, toy_learner, toy_parts

FACTS = [
    Lesson("Who bakes at Zorblat?", "Mirela Quandt"),
    Lesson("Which street leads to the Umbral gate?", "Copper Lane"),
    Lesson("How many bells hang in Tarn tower?", "Seventeen"),
]
SHORT = Sampling(max_new_tokens=12)


@pytest.mark.parametrize("family", FAMILIES)
def test_forgetting_gives_the_bits_of_a_system_that_was_never_taught(family):
    parts = toy_parts(family)
    taught, twin = toy_engine(parts=parts), toy_engine(parts=parts)
    learner = toy_learner(taught)
    gone = learner.teach_many(FACTS)[1].lesson
    for fact in FACTS:
        assert taught.answer(fact.prompt).text == fact.answer
    toy_learner(twin).teach_many([FACTS[0], FACTS[2]])
    learner.forget(gone.id)
    for prompt in [f.prompt for f in FACTS] + ["Something else?"]:
        assert torch.equal(taught.logits(prompt, steps=10), twin.logits(prompt, steps=10))


def test_what_was_taught_is_there_after_a_restart(tmp_path: Path):
    first = engine_on_disk(tmp_path)
    toy_learner(first).teach_many(FACTS)
    wanted = first.logits(FACTS[0].prompt, steps=6)
    first.close()
    second = engine_on_disk(tmp_path)
    assert [second.answer(f.prompt).text for f in FACTS] == [f.answer for f in FACTS]
    assert torch.equal(second.logits(FACTS[0].prompt, steps=6), wanted)
    second.close()


def test_derived_data_may_vanish(tmp_path: Path):
    first = engine_on_disk(tmp_path)
    toy_learner(first).teach_many(FACTS)
    wanted = [first.logits(f.prompt, steps=6) for f in FACTS]
    first.close()
    for file in tmp_path.glob("derived.db*"):
        file.unlink()
    second = engine_on_disk(tmp_path)
    assert all(torch.equal(second.logits(f.prompt, steps=6), w) for f, w in zip(FACTS, wanted, strict=True))
    second.close()


def test_a_forgotten_lesson_is_in_no_file_any_more(tmp_path: Path):
    engine = engine_on_disk(tmp_path)
    learner = toy_learner(engine)
    secret = learner.teach(Lesson("What is the Umbral password?", "xyzzy-plugh-42")).lesson
    engine.session(sampling=SHORT).say(secret.prompt)
    learner.forget(secret.id)
    engine.close()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"xyzzy-plugh-42" not in file.read_bytes(), file


def test_feedback_flows_into_the_next_answer(tmp_path: Path):
    engine = engine_on_disk(tmp_path)
    learner = toy_learner(engine)
    session = engine.session()
    wrong = session.say(FACTS[0].prompt, sampling=SHORT)
    assert wrong.text != FACTS[0].answer
    learner.learn_from_feedback(Feedback(FACTS[0].prompt, "wrong", FACTS[0].answer, turn=session.last_turn))
    assert session.say(FACTS[0].prompt).text == FACTS[0].answer
    engine.close()


def test_two_processes_teach_one_folder_and_nothing_is_lost(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=teach_numbered, args=(tmp_path, name, 15)) for name in ("alpha", "beta")]
    engine = engine_on_disk(tmp_path)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert engine.memory.store.count(LessonQuery(status="active")) == 30
    assert engine.answer("What does beta3 say to beta21?").text == "beta 3"
    engine.close()

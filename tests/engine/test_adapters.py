"""Adapters in the engine: chosen per request, per row, by lineage and by the router; off is the bare base."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from everlearn.errors import AdapterNotFoundError
from everlearn.records import Lesson, Sampling
from everlearn.specialists import router_file
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.settings import AdapterSettings
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.wiring import engine_over
from toys import toy_engine, toy_learner, toy_parts

SHORT = Sampling(max_new_tokens=8)


@pytest.fixture
def engine(tmp_path):
    made = engine_over(toy_parts(), InMemoryLessonStore(), InMemoryDerivedStore(), tmp_path / "adapters")
    yield made
    made.close()


def keep(engine, name, seed, **lineage):
    """A version of an adapter that says something."""
    adapters = engine.specialists.adapters
    adapters.create("draft", AdapterSettings(rank=4, modules="all"), seed=seed)
    torch.manual_seed(seed)
    for parameter in adapters.parameters("draft").values():
        parameter.data.normal_(std=0.3)
    kept = adapters.keep("draft", Adapter(name, engine.name, engine.model.digest, **lineage))
    adapters.unload("draft")
    engine.specialists.shelf.point(name, kept.step)
    return kept


def forget(engine, ids):
    """Un-learn routes, and let everybody see that something changed."""
    router_file.forget(engine.specialists.router_path, ids)
    engine.specialists.shelf.point("a", 1)


def test_an_adapter_is_chosen_for_a_request_and_named_in_its_receipt(engine):
    bare = engine.answer("hello there", sampling=SHORT)
    keep(engine, "a", 1)
    keep(engine, "b", 2)
    a, b = (engine.answer("hello there", sampling=SHORT, adapter=name) for name in ("a", "b@1"))
    assert (a.receipt.adapter, b.receipt.adapter, bare.receipt.adapter) == ("a@1", "b@1", "")
    assert len({a.text, b.text, bare.text}) == 3
    again = engine.answer("hello there", sampling=SHORT)
    assert (again.text, again.receipt.adapter) == (bare.text, "")
    with pytest.raises(AdapterNotFoundError):
        engine.answer("hello there", adapter="nobody")


def test_off_is_the_engine_that_never_had_an_adapter_bit_for_bit(engine):
    never = toy_engine(parts=toy_parts())
    keep(engine, "a", 1)
    engine.answer("hello", sampling=SHORT, adapter="a")
    assert torch.equal(engine.logits("hello", steps=4), never.logits("hello", steps=4))


def test_the_router_gives_each_row_of_a_batch_its_own(engine):
    keep(engine, "numbers", 1)
    keep(engine, "letters", 2)
    for name, words in (("numbers", "one two three four five six"), ("letters", "ay bee cee dee eee eff")):
        prompts = [" ".join(words.split()[n : n + 4]) for n in range(3)]
        engine.specialists.learn_routes(name, [f"{name}{n}" for n in range(3)], prompts)
    prompts = ["two three four five", "bee cee dee eee", "something else altogether"]
    answers = engine.answer_many(prompts, sampling=SHORT)
    assert [a.receipt.adapter for a in answers] == ["numbers@1", "letters@1", ""]
    for prompt, answer, name in zip(prompts, answers, ["numbers", "letters", ""], strict=True):
        alone = engine.answer(prompt, sampling=SHORT, adapter=name)
        assert (alone.text, alone.receipt.adapter) == (answer.text, answer.receipt.adapter)
    assert engine.answer(prompts[0], tables=(), sampling=SHORT).receipt.adapter == ""


def test_a_lesson_that_the_weights_answer_retires_from_its_table_and_comes_back_on_rollback(engine):
    learner = toy_learner(engine)
    lesson = learner.teach(Lesson("What is the code?", "x7")).lesson
    other = learner.teach(Lesson("Who drives the bus?", "Ann")).lesson
    assert engine.answer("What is the code?").text == "x7"
    kept = keep(engine, "codes", 1, lessons=(lesson.id, other.id), answers=(lesson.id,))
    retired = engine.answer("What is the code?", sampling=SHORT)
    assert retired.receipt.adapter == "codes@1"
    assert retired.receipt.steps_corrected == 0
    assert engine.answer("Who drives the bus?").text == "Ann"
    engine.specialists.shelf.point("codes", None)
    back = engine.answer("What is the code?")
    assert (back.text, back.receipt.adapter) == ("x7", "")
    engine.specialists.shelf.point("codes", kept.step)
    assert engine.answer("What is the code?", sampling=SHORT).text == retired.text


def test_a_session_reads_anew_when_its_adapter_changes(engine):
    keep(engine, "a", 1)
    session = engine.session(sampling=SHORT, adapter="a")
    first = session.say("hello there")
    session.adapter = ""
    session.undo()
    assert session.say("hello there").text == engine.answer("hello there", sampling=SHORT).text
    assert first.text == engine.answer("hello there", sampling=SHORT, adapter="a").text
    session.adapter = "a"
    assert session.say("and now").usage.cached_tokens == 0
    assert session.say("again").usage.cached_tokens > 0


def test_adapters_of_another_base_rest(engine, caplog):
    adapters = engine.specialists.adapters
    adapters.create("draft", AdapterSettings(rank=4))
    stranger = Adapter("a", "other", "f" * 64, answers=("l1",))
    engine.specialists.shelf.point("a", adapters.keep("draft", stranger).step)
    assert engine.specialists.current == {}
    assert engine.specialists.answerer_of("l1") is None
    assert "belongs to other" in caplog.text


def test_an_engine_without_a_folder_has_none():
    with pytest.raises(AdapterNotFoundError, match="without a folder"):
        toy_engine(parts=toy_parts()).answer("hello", adapter="a")


def test_unlearned_routes_are_gone(engine):
    keep(engine, "a", 1)
    engine.specialists.learn_routes("a", ["l1", "l2"], ["red green blue", "red green black"])
    assert engine.answer("red green blue", sampling=SHORT).receipt.adapter == "a@1"
    forget(engine, ["l1"])
    assert engine.specialists.choose("red green black") == "a@1"
    forget(engine, ["l2", "unknown"])
    assert engine.specialists.choose("red green black") is None
    assert dataclasses.replace(engine.answer("red", sampling=SHORT).receipt).adapter == ""

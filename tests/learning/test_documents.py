"""Learning documents: asked at once, replaced when they change, resumed when they were stopped."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from everlearn.errors import LessonError, TableNotFoundError
from everlearn.learning.documents import BATCH
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonQuery

TEXT = """# Zorblat handbook

## Refunds
Refunds at Zorblat take eleven working days when the customer kept the receipt.

## Opening hours
The Umbral harbour branch opens at nine and closes at six on every weekday.
"""
QUESTION = "How many working days do refunds at Zorblat take?"


@pytest.fixture(autouse=True)
def _certain_gate(engine):
    """The toy encoder is not what the packaged gate was fitted on."""
    engine.memory.passages._gate = type("Gate", (), {"probability": staticmethod(_covered)})()


def _covered(query, evidence):
    from everlearn.memory.passage_gate import coverage, stem

    return coverage({stem(w): 1.0 for w in query.signature}, evidence.words)


def passages(engine):
    return engine.memory.store.lessons(LessonQuery(kind="passage", status="active"))


def test_a_text_is_asked_at_once_and_the_receipt_cites_its_passage(engine, learner):
    learned = learner.learn_from_text(TEXT, domain="shop", importance=0.8)
    assert (learned.new, learned.known, learned.removed) == (2, 0, ())
    refunds, hours = passages(engine)
    assert (refunds.prompt, refunds.position) == ("Zorblat handbook > Refunds", "line 4")
    assert (hours.domain, hours.importance) == ("shop", 0.8)
    answer = engine.answer(QUESTION)
    assert [r.lesson_id for r in answer.receipt.context] == [refunds.id]
    assert answer.receipt.spoke is None
    plain = engine.answer(QUESTION, tables=[])
    assert answer.usage.prompt_tokens > plain.usage.prompt_tokens
    assert answer.text == engine.answer(f"{refunds.prompt}\n{refunds.answer}\n\n{QUESTION}", tables=[]).text


def test_an_unrelated_question_is_the_bare_models(engine, learner):
    learner.learn_from_text(TEXT)
    asked = "Which planet has rings?"
    answer, bare = engine.answer(asked), engine.answer(asked, tables=[])
    assert answer.receipt.context == ()
    assert (answer.text, answer.usage.prompt_tokens) == (bare.text, bare.usage.prompt_tokens)


def test_the_same_text_again_is_known_and_a_changed_one_replaces_it(engine, learner):
    first = learner.learn_from_text(TEXT, source="handbook.md")
    again = learner.learn_from_text(TEXT, source="handbook.md")
    assert (again.new, again.known, again.removed) == (0, 2, ())
    changed = learner.learn_from_text(TEXT.replace("eleven", "twelve"), source="handbook.md")
    assert (changed.new, changed.known) == (1, 1)
    assert changed.removed == (first.taught[0].lesson.id,)
    assert ["twelve" in p.answer for p in passages(engine)] == [False, True]
    other = learner.learn_from_text(TEXT, source="copy.md")
    assert other.new == 2
    assert len(passages(engine)) == 4


def test_what_was_committed_before_a_stop_is_known(engine, learner, monkeypatch):
    words = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(BATCH + 5)]
    text = "\n".join(
        f"# Part {n}\n{word[:9]} {word[9:20]} {word[20:33]} {word[33:]}.\n" for n, word in enumerate(words)
    )
    teach_many = learner.teach_many
    calls = []

    def stop_at_the_second(lessons, **options):
        calls.append(len(lessons))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return teach_many(lessons, **options)

    monkeypatch.setattr(type(learner), "teach_many", lambda self, lessons, **o: stop_at_the_second(lessons, **o))
    with pytest.raises(KeyboardInterrupt):
        learner.learn_from_text(text, source="long")
    assert len(passages(engine)) == BATCH
    steps = []
    like = Lesson("", "", source="long")
    from everlearn.learning import documents

    ready = documents.lessons_of(documents.text_document(text, "Text"), engine.text, like)
    done = learner.learn_passages(ready, progress=lambda *step: steps.append(step))
    assert (done.known, done.new) == (BATCH, 5)
    assert steps[-1] == (BATCH + 5, BATCH + 5)


def test_forgetting_a_passage_leaves_no_trace(engine, learner):
    never = engine.recall(QUESTION).recalled
    learned = learner.learn_from_text(TEXT)
    session = engine.session()
    session.say(QUESTION)
    ids = [t.lesson.id for t in learned.taught]
    assert engine.memory.store.turns_resting_on(ids[0]) == 1
    learner.forget(ids)
    assert engine.recall(QUESTION).recalled == never
    assert engine.memory.derived.ids() == set()
    assert engine.memory.store.turns(session.id) == []
    assert len(engine.memory.passages) == 0


def test_a_pair_that_speaks_needs_no_context(engine, learner):
    learner.learn_from_text(TEXT)
    learner.teach(Lesson(QUESTION, "Eleven."))
    receipt = engine.answer(QUESTION).receipt
    assert receipt.spoke is not None
    assert receipt.context == ()


def test_the_budget_of_a_table_is_kept(engine, learner):
    learner.learn_from_text(TEXT)
    engine.memory.store.put_table("default", TableSettings(context_threshold=0.0, context_tokens=130))
    receipt = engine.recall(QUESTION)
    assert [r.decision for r in receipt.recalled] == ["context", "no_room"]
    engine.memory.store.put_table("default", TableSettings(context_threshold=0.0, context_tokens=0))
    assert {r.decision for r in engine.recall(QUESTION).recalled} == {"below_threshold"}
    engine.memory.store.put_table("default", TableSettings(context_threshold=0.0, residual=0.0))
    assert {r.decision for r in engine.recall(QUESTION).recalled} == {"silent"}


def test_a_pair_between_the_thresholds_is_read(engine, learner):
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    asked = "Who bakes at Zorblat on Sundays for the harbour?"
    (seen,) = engine.recall(asked).recalled
    assert seen.decision in ("below_threshold", "spoke")
    low = dataclasses.replace(TableSettings(), threshold=1.0, context_threshold=seen.probability / 2)
    engine.memory.store.put_table("default", low)
    answer = engine.answer(asked)
    assert [r.decision for r in answer.receipt.recalled] == ["context"]
    assert answer.text == engine.answer(f"Who bakes at Zorblat?\nMirela\n\n{asked}", tables=[]).text


def test_later_turns_are_read_without_the_context_of_earlier_ones(engine, learner):
    learner.learn_from_text(TEXT)
    with_it, bare = engine.session(), engine.session(tables=())
    first = with_it.say(QUESTION)
    assert first.receipt.context
    assert bare.begin(QUESTION).prompt_ids[:5]  # the bare conversation gets the very same answer put in
    bare.abandon()
    bare.messages = list(with_it.messages)
    one, other = with_it.say("Which planet has rings?"), bare.say("Which planet has rings?")
    assert one.receipt.context == ()
    assert one.usage.prompt_tokens == other.usage.prompt_tokens
    assert one.text == other.text


def test_a_table_with_passages_can_be_deleted(engine, learner):
    learner.put_table("docs")
    learner.learn_from_text(TEXT, table="docs")
    learner.delete_table("docs")
    assert len(engine.memory.passages) == 0
    assert engine.recall(QUESTION).recalled == ()


def test_bad_documents_are_refused(learner):
    with pytest.raises(LessonError, match="The document is empty"):
        learner.learn_from_text(" \n")
    with pytest.raises(LessonError, match="is a bytes, wanted text"):
        learner.learn_from_text(b"x")
    with pytest.raises(TableNotFoundError):
        learner.learn_from_text("Hello there.", table="none")
    with pytest.raises(LessonError, match="importance is 2"):
        learner.learn_from_text("Hello there.", importance=2)
    with pytest.raises(LessonError, match="not the passages of one source"):
        learner.learn_passages([])

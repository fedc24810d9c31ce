"""Turns that left the window of an endless conversation can be recalled in it, and nowhere else."""

import pytest

from everlearn import Learner
from everlearn.evaluation.facts import UNRELATED
from everlearn.learning.keeping import TurnKeeper
from everlearn.records import Sampling, TableSettings
from everlearn.store.port import LessonQuery
from toys import toy_engine

SHORT = Sampling(max_new_tokens=12)


def long_talk(engine, learner, first, turns=10, window=200):
    session = engine.session(context="unlimited", window=window, sampling=SHORT)
    keeper = TurnKeeper(learner, session)
    for n in range(turns):
        session.say(first if n == 0 else f"Now something about boat number {n}, please.")
        keeper.keep()
    return session, keeper


def test_what_left_becomes_passages_of_the_conversations_own_table(engine, learner):
    session, keeper = long_talk(engine, learner, "My cat is called Miezi.\n# not a heading")
    lessons = engine.memory.store.lessons(LessonQuery(keeper.table, "active"))
    assert keeper.turns == len({lesson.source for lesson in lessons}) > 3
    assert any("My cat is called Miezi." in lesson.answer for lesson in lessons)
    assert all(lesson.kind == "passage" for lesson in lessons)
    assert keeper.table not in engine.tables_for()
    assert session.own_tables == (keeper.table,)


def test_closing_leaves_nothing(engine, learner):
    before = [table.name for table in engine.memory.store.tables()]
    session, keeper = long_talk(engine, learner, "My cat is called Miezi.")
    keeper.close()
    assert [table.name for table in engine.memory.store.tables()] == before
    assert session.say("And now?").text is not None
    keeper.close()


def test_what_is_still_in_the_window_is_not_kept(engine, learner):
    _, keeper = long_talk(engine, learner, "Hello.", turns=2, window=2000)
    assert keeper.turns == 0


def test_another_conversation_does_not_hear_of_it(engine, learner):
    learner.put_table("shared", TableSettings())
    session, keeper = long_talk(engine, learner, "The Zorblat bakery in Quimper sells plum bread.")
    own = session.say("What does the Zorblat bakery in Quimper sell?").receipt
    other = engine.session(sampling=SHORT).say("What does the Zorblat bakery in Quimper sell?").receipt
    assert keeper.table in own.tables
    assert "shared" in own.tables
    assert keeper.table not in other.tables


@pytest.mark.model
def test_the_far_past_is_recalled(real_parts):
    engine = toy_engine(parts=real_parts)
    learner = Learner(engine, background=False)
    session = engine.session(context="unlimited", window=256, sampling=Sampling(max_new_tokens=32))
    keeper = TurnKeeper(learner, session)
    for text in ("My cat is called Miezi and she is eleven years old.", *UNRELATED[:9]):
        session.say(text)
        keeper.keep()
    held = engine.text.decode(session._held[0].ids[session._held[0].cache.dropped[0] + session.window.sinks :])
    assert "Miezi" not in held, "it must have left the window for this test to say anything"
    answer = session.say("What is my cat called?", sampling=Sampling(max_new_tokens=24))
    assert "Miezi" in answer.text
    assert [each.table for each in answer.receipt.recalled if each.decision == "context"] == [keeper.table]
    learner.close()

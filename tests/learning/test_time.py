"""Answers as of a time, years out of order, answers kept beside each other, and undo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from everlearn.errors import ConflictError, SettingsError
from everlearn.records import Lesson
from everlearn.store import LessonQuery
from toys import toy_engine, toy_learner

WHO = "Who leads the Zorblat bakery?"


def year(number):
    return datetime(number, 1, 1, tzinfo=UTC)


def told(answer, begin=None, end=None, prompt=WHO, **fields):
    return Lesson(prompt, answer, valid_from=begin and year(begin), valid_to=end and year(end), **fields)


def answers(engine, *times):
    return [said(engine, time) for time in times]


def said(engine, as_of=None):
    """Who would speak, by its lesson's answer: nothing is decoded."""
    spoke = engine.recall(WHO, as_of=as_of).spoke
    return engine.memory.store.lesson(spoke.lesson_id).answer if spoke else None


def test_an_answer_as_of_a_time_comes_from_the_lesson_that_held_then(engine, learner):
    learner.teach(told("Ada", 2015))
    learner.teach(told("Bob", 2018))
    assert engine.answer(WHO).text == "Bob"
    then = engine.answer(WHO, as_of="2016-03")
    assert then.text == "Ada"
    assert then.receipt.as_of == datetime(2016, 3, 1, tzinfo=UTC)
    assert engine.answer(WHO, as_of="2014").receipt.spoke is None
    assert engine.answer(WHO).receipt.as_of is None
    assert [a.text for a in engine.answer_many([WHO, WHO], as_of=year(2017))] == ["Ada", "Ada"]


@pytest.mark.parametrize("order", list(permutations((0, 1, 2, 3)))[::5])
@pytest.mark.parametrize("at_once", [False, True])
def test_years_may_be_taught_in_any_order(engine, learner, order, at_once):
    chain = [told("Ada", 2012), told("Bob", 2015), told("Ada", 2016), told("Cleo", 2018)]
    shuffled = [chain[n] for n in order]
    if at_once:
        learner.teach_many(shuffled)
    else:
        for each in shuffled:
            learner.teach(each)
    assert said(engine) == "Cleo"
    assert answers(engine, "2011", "2012", "2015", "2015-12", "2017", "2018", "2030") == [
        None, "Ada", "Bob", "Bob", "Ada", "Cleo", "Cleo"
    ]  # fmt: skip
    store = engine.memory.store
    assert store.count(LessonQuery(status="active")) == 1
    assert store.count(LessonQuery(as_of=year(2017))) == 1
    assert all(taught.known for taught in learner.teach_many(shuffled))
    again = toy_engine(store=store, derived=engine.memory.derived)
    assert answers(again, None, "2015", "2017") == ["Cleo", "Bob", "Ada"]


def test_before_it_was_taught_an_undated_lesson_is_not_there(engine, learner):
    before = datetime.now(UTC)
    learner.teach(told("Ada"))
    between = datetime.now(UTC)
    learner.teach(told("Bob"))
    assert answers(engine, before - timedelta(days=1), between, None) == [None, "Ada", "Bob"]


def test_an_undated_correction_replaces_a_dated_one_and_a_dated_one_an_undated(engine, learner):
    learner.teach(told("Ada", 2018))
    learner.teach(told("Bob"))
    assert answers(engine, None, "2019") == ["Bob", "Ada"]
    learner.teach(told("Cleo", 2020))
    assert answers(engine, None, "2019", "2021") == ["Cleo", "Ada", "Cleo"]


def test_what_is_to_come_waits_and_the_old_answer_speaks_until_then(engine, learner):
    learner.teach(told("Ada"))
    learner.teach(told("Zoe", 2999))
    assert answers(engine, None, "2999") == ["Ada", "Zoe"]
    learner.teach(told("Bob"))
    assert answers(engine, None, "2998", "2999") == ["Bob", "Bob", "Zoe"]
    fresh = toy_engine(store=engine.memory.store, derived=engine.memory.derived)
    assert answers(fresh, None, "2999") == ["Bob", "Zoe"]
    zoe = engine.memory.store.lessons(LessonQuery(text="Zoe"))[0]
    learner.forget(zoe.id)
    assert answers(engine, None, "2999") == ["Bob", "Bob"]


def test_what_has_ended_is_not_answered_any_more(engine, learner):
    learner.teach(told("Ada", 2010, 2014))
    assert answers(engine, None, "2013", "2014") == [None, "Ada", None]


def test_forgetting_one_year_closes_the_gap(engine, learner):
    ids = [learner.teach(told(name, begin)).lesson.id for name, begin in (("Ada", 2012), ("Cleo", 2018), ("Bob", 2015))]
    assert answers(engine, "2016") == ["Bob"]
    learner.forget(ids[2])
    assert answers(engine, "2016", None) == ["Ada", "Cleo"]
    learner.forget(ids[1])
    assert answers(engine, None, "2011") == ["Ada", None]


def test_other_questions_keep_their_past_when_one_is_inserted(engine, learner):
    other = "What does the pump cost?"
    learner.teach_many([told("1 euro", 2010, prompt=other), told("2 euros", 2018, prompt=other)])
    learner.teach_many([told("Bob", 2018), told("Ada", 2012)])
    assert engine.answer(other, as_of="2013").text == "1 euro"
    assert said(engine, "2013") == "Ada"


def test_keep_both_lets_the_newest_speak_and_the_receipt_names_the_other(engine, learner):
    first = learner.teach(told("Ada", 2012)).lesson
    second = learner.teach(told("Bob", 2018), on_conflict="keep_both")
    third = learner.teach(told("Old Cleo", 2010), on_conflict="keep_both")
    assert second.beside == (first.id,)
    assert set(third.beside) == {first.id, second.lesson.id}
    assert engine.memory.store.count(LessonQuery(status="active")) == 3
    receipt = engine.recall(WHO)
    assert receipt.spoke.lesson_id == second.lesson.id
    assert {r.lesson_id for r in receipt.recalled if r.decision == "kept_beside"} == {first.id, third.lesson.id}
    assert answers(engine, "2013", "2011", "2009") == ["Ada", "Old Cleo", None]
    learner.forget(second.lesson.id)
    assert said(engine) == "Ada"
    learner.teach(told("Dora"))
    assert said(engine) == "Dora"
    assert engine.memory.store.conflicts() == []


def test_a_passing_exception_is_kept_beside_the_rule(engine, learner):
    learner.teach(told("Ada"))
    now = datetime.now(UTC)
    learner.teach(Lesson(WHO, "Bob", valid_from=now, valid_to=now + timedelta(days=7)), on_conflict="keep_both")
    assert answers(engine, None, now + timedelta(days=6), now + timedelta(days=8)) == ["Bob", "Bob", "Ada"]


def test_reject_refuses_a_contradiction_and_nothing_else(engine, learner):
    learner.teach(told("Ada", 2010, 2014))
    with pytest.raises(ConflictError, match="answered by lesson"):
        learner.teach(told("Bob", 2012), on_conflict="reject")
    learner.teach(told("Bob", 2014), on_conflict="reject")  # it begins where the other ends
    assert answers(engine, None, "2013") == ["Bob", "Ada"]


def test_undo_lets_the_replaced_answer_speak_again_and_keeps_the_history(engine, learner):
    learner.teach(told("Ada"))
    wrong = learner.teach(told("Bob")).lesson
    between = datetime.now(UTC)
    back = learner.undo(wrong.id)
    assert [each.lesson.answer for each in back] == ["Ada"]
    assert answers(engine, None, between) == ["Ada", "Bob"]
    assert [le.answer for le in engine.memory.store.history(wrong.id)] == ["Ada", "Bob", "Ada"]
    learner.undo(back[0].lesson.id)
    assert said(engine) == "Bob"


def test_undoing_a_dated_lesson_takes_its_time_from_it(engine, learner):
    learner.teach(told("Ada", 2012))
    wrong = learner.teach(told("Bob", 2018)).lesson
    learner.undo(wrong.id)
    assert answers(engine, None, "2019", "2013") == ["Ada", "Ada", "Ada"]


def test_undo_refuses_what_replaced_nothing_or_speaks_no_more(learner):
    ada = learner.teach(told("Ada")).lesson
    with pytest.raises(ConflictError, match="replaced nothing"):
        learner.undo(ada.id)
    learner.teach(told("Bob"))
    with pytest.raises(ConflictError, match="superseded by"):
        learner.undo(ada.id)


def test_a_session_asks_about_its_time_and_keeps_it_in_the_turn(engine, learner):
    learner.teach_many([told("Ada", 2015), told("Bob", 2018)])
    session = engine.session(as_of="2016")
    assert session.say(WHO).text == "Ada"
    kept = engine.memory.store.turn(session.last_turn)
    assert kept.receipt.as_of == year(2016)
    session.as_of = None
    assert session.say(WHO).text == "Bob"
    with pytest.raises(SettingsError, match="as_of is 'soon'"):
        engine.answer(WHO, as_of="soon")


def test_other_processes_see_the_past_change(engine, learner):
    other = toy_engine(store=engine.memory.store, derived=engine.memory.derived)
    learner.teach(told("Bob", 2018))
    assert answers(other, "2016", None) == [None, "Bob"]
    toy_learner(other).teach(told("Ada", 2012))
    assert answers(engine, "2016", None) == ["Ada", "Bob"]
    learner.forget(engine.memory.store.lessons(LessonQuery(text="Ada"))[0].id)
    assert answers(other, "2016", None) == [None, "Bob"]

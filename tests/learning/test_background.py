"""Corrections in the background."""

import threading

from everlearn import Learner
from everlearn.records import Lesson
from toys import toy_engine


def test_corrections_appear_without_being_asked_for():
    engine = toy_engine()
    put, arrived = engine.memory.derived.put, threading.Event()

    def watched(kind, values):
        put(kind, values)
        if kind.startswith("correction/"):
            arrived.set()

    engine.memory.derived.put = watched
    learner = Learner(engine)
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    assert arrived.wait(30)
    learner.close()
    assert engine.memory.warm() == []


def test_closing_stops_the_thread_and_closing_twice_is_fine():
    learner = Learner(toy_engine())
    learner.teach(Lesson("Who bakes at Zorblat?", "Mirela"))
    learner.close()
    learner.close()
    assert not any(t.name == "everlearn-corrections" for t in threading.enumerate())


def test_a_lesson_that_is_forgotten_meanwhile_is_no_trouble(caplog):
    engine = toy_engine()
    learner = Learner(engine)
    lesson = learner.teach(Lesson("Who bakes at Zorblat?", "Mirela")).lesson
    learner.forget(lesson.id)
    learner.close()
    assert not caplog.records

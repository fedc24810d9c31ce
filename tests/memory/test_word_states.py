"""Word states: kept when taught, computed when they are not there, gone when forgotten."""

import numpy as np

from everlearn.memory.key import KeyMaker
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson
from everlearn.store.in_memory import InMemoryDerivedStore
from toys import ToyEncoder, toy_engine, toy_learner

KIND = f"words/{ToyEncoder.digest}"
PROMPTS = {"a": "Who founded Halvorsen Works?", "b": "When did Brimstad open?"}


class CountingEncoder(ToyEncoder):
    def __init__(self) -> None:
        self.texts = 0

    def read(self, texts):
        self.texts += len(texts)
        return super().read(texts)


def test_what_is_not_kept_is_computed_once():
    encoder, derived = CountingEncoder(), InMemoryDerivedStore()
    keys = KeyMaker(encoder)
    first = WordStates(keys, derived).of(PROMPTS)
    again = WordStates(keys, derived).of(PROMPTS)
    assert encoder.texts == 2
    assert all(np.array_equal(first[i], again[i]) for i in PROMPTS)
    assert len(first["a"]) == 4


def test_damaged_states_are_made_anew():
    keys, derived = KeyMaker(ToyEncoder()), InMemoryDerivedStore()
    whole = WordStates(keys, derived).of(PROMPTS)
    derived.put(KIND, {"a": b"broken"})
    assert np.array_equal(WordStates(keys, derived).of(PROMPTS)["a"], whole["a"])


def test_held_states_are_bounded():
    states = WordStates(KeyMaker(ToyEncoder()), InMemoryDerivedStore(), most=1)
    states.of(PROMPTS)
    assert len(states._held) == 1


def test_teaching_keeps_them_and_forgetting_removes_them():
    derived = InMemoryDerivedStore()
    engine = toy_engine(derived=derived)
    learner = toy_learner(engine)
    lesson = learner.teach(Lesson(PROMPTS["a"], "Ada Halvorsen")).lesson
    assert lesson.id in derived.get(KIND, [lesson.id])
    learner.forget([lesson.id])
    assert derived.get(KIND, [lesson.id]) == {}

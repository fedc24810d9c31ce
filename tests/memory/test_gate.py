"""The gate: the packaged numbers, and what each feature is evidence for."""

from dataclasses import replace

import numpy as np
import pytest

from everlearn.memory.gate import Gate
from everlearn.memory.key import KeyMaker
from toys import ToyEncoder

KEYS = KeyMaker(ToyEncoder())
QUESTION = "Which year did the Zorblat bakery open?"


def test_packaged_gate_is_sure_of_equal_texts_and_of_strangers():
    gate = Gate.packaged()
    same, stranger = KEYS.key(QUESTION), KEYS.key("How do penguins sleep?")
    assert gate.probability(same, same) > 0.9
    assert gate.probability(stranger, same) < 0.01


def test_another_number_is_another_question():
    gate = Gate.packaged()
    eight, nine = KEYS.key("What is track 8 on the album?"), KEYS.key("What is track 9 on the album?")
    assert gate.probability(nine, eight) < gate.probability(eight, eight) - 0.3


@pytest.mark.parametrize("text", ["", "???", "你好吗", "🥐", "مرحبا"])
def test_any_script_has_a_key(text):
    key = KEYS.key(text)
    assert np.isfinite(key.vector).all()
    assert all(0.0 < r < 20.0 for r in key.signature.values())


def test_equal_words_are_certain_however_they_are_spelled():
    gate = Gate.packaged()
    assert gate.probability(KEYS.key(" which YEAR did the zorblat bakery open "), KEYS.key(QUESTION)) == 1.0


def test_a_long_question_is_not_recalled_for_its_length():
    """Seen on QAEdit with an unbounded sum: a long question was sure of a short one about another bird."""
    gate = Gate.packaged()
    long = KEYS.key("Which bird " + " ".join(f"strange{n}" for n in range(40)))
    short = KEYS.key("Which is the smallest bird of the crow family?")
    assert gate.probability(long, short) < 0.5


def test_a_passage_and_its_longer_version_are_two_questions():
    gate = Gate.packaged()
    passage = "This is a passage about Orlin Vask, a botanist of Tarn."
    longer = passage + " He collected mosses, kept bees, and wrote the great herbal of the northern islands."
    assert gate.same_question(KEYS.key(passage), KEYS.key(passage.upper()))
    assert not gate.same_question(KEYS.key(longer), KEYS.key(passage))
    assert not gate.same_question(KEYS.key(passage), KEYS.key(longer))


SAME = [
    ("What's the capital of Freedonia?", "What is the capital of Freedonia?"),
    ("Who runs the Zorblat bakery?", "The Zorblat bakery is run by whom?"),
    ("Who runs the Zorblat bakery?", "Who is running the Zorblat bakery?"),
    ("What is our refund period?", "How long is our refund period?"),
    ("Who is the CEO of Acme?", "Who is Acme's CEO?"),
]
DIFFERENT = [
    ("What is track 8 on the album?", "What is track 9 on the album?"),
    ("When does the Berlin office open?", "When does the Berlin office close?"),
    ("Who is the mayor of Freedonia?", "Who is the deputy mayor of Freedonia?"),
    ("Who founded Brindlewax Optics?", "When was Brindlewax Optics founded?"),
    ("Who beat Anna?", "Who did Anna beat?"),
    ("What is C#?", "What is C++?"),
    ("What happens at -5 degrees?", "What happens at 5 degrees?"),
    ("Is x > 5 allowed?", "Is x < 5 allowed?"),
]
FARTHER = [
    ("Who is the CEO of Zorblat?", "Who is the CFO of Zorblat?"),
    ("What is the capital of Freedonia?", "What is the currency of Freedonia?"),
    ("What is the wifi password?", "What is the wifi password of Kowalczyk?"),
]


@pytest.mark.model
@pytest.mark.parametrize(("first", "second"), SAME)
def test_another_wording_is_the_same_question(real_parts, first, second):
    one, two = real_parts.keys.key(first), real_parts.keys.key(second)
    assert Gate.packaged().same_question(one, two)
    assert Gate.packaged().same_question(two, one)


@pytest.mark.model
@pytest.mark.parametrize(("first", "second"), DIFFERENT + FARTHER)
def test_a_look_alike_is_another_question(real_parts, first, second):
    one, two = real_parts.keys.key(first), real_parts.keys.key(second)
    assert not Gate.packaged().same_question(one, two)
    assert not Gate.packaged().same_question(two, one)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_a_look_alike_is_another_question_however_near_it_lies(first, second):
    one, two = KEYS.key(first), KEYS.key(second)
    two = replace(two, vector=one.vector)
    assert not Gate.packaged().same_question(one, two)


def test_a_perfect_match_but_for_grammar_is_the_same_question():
    one = KEYS.key("Where is the Zorblat bakery?")
    two = replace(KEYS.key("Where does the Zorblat bakery be?"), vector=one.vector)
    assert Gate.packaged().same_question(one, two)

"""Statements compared with lessons: numbers, names and words that they do not have."""

import pytest

from everlearn.memory.key import KeyMaker, words
from everlearn.safety.claims import ClaimCheck, Source
from toys import ToyEncoder

LESSON = "When was the Zorblat bakery founded?\nIt was founded in 1,987 by Mirela Quandt, and sells 40 kinds of bread."
QUESTION = "Tell me about the Zorblat bakery."


@pytest.fixture(scope="module")
def check():
    keys = KeyMaker(ToyEncoder())
    claims = ClaimCheck(keys.vectors, words, lambda word: 0.15 if len(word) < 4 else 0.5)
    return lambda answer, lesson=LESSON: claims.check(QUESTION, answer, [Source("a", lesson)] if lesson else [])


@pytest.mark.parametrize(
    "answer",
    ["Mirela Quandt", "It was founded in 1987.", "The Zorblat bakery sells 40 kinds of bread.", "bread", "40"],
)
def test_what_the_lesson_says_is_supported(check, answer):
    assert [claim.supported for claim in check(answer)] == [True]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("It was founded in 1988.", "number"),
        ("It was founded by Olaf Quandt.", "name"),
        ("It sells 41 kinds of bread.", "number"),
        ("Elephants drink water quietly under purple umbrellas.", "words"),
    ],
)
def test_what_the_lesson_does_not_say_is_marked_with_the_reason(check, answer, reason):
    (claim,) = check(answer)
    assert not claim.supported
    assert reason in claim.reasons


def test_each_statement_is_judged_by_itself_and_told_by_its_place(check):
    good = "The Zorblat bakery was founded in 1987 by Mirela Quandt, they say."
    bad = "It sells 99 kinds of bread and was founded in the year of 1987."
    answer = f"{good} {bad}"
    first, second = check(answer)
    assert (first.supported, second.supported) == (True, False)
    assert answer[first.start : first.end] == good
    assert answer[second.start : second.end].strip() == bad


def test_without_a_lesson_nothing_is_supported_and_without_words_nothing_is_said(check):
    assert [claim.reasons for claim in check("Anything.", "")] == [("no_lesson",)]
    assert check("...") == []
    assert check("") == []


def test_several_lessons_support_together_and_the_nearest_is_named():
    keys = KeyMaker(ToyEncoder())
    claims = ClaimCheck(keys.vectors, words, lambda word: 0.15 if len(word) < 4 else 0.5)
    sources = [Source("a", "Who owns Tarnix?\nBrindle Optics"), Source("b", "Who leads Brindle Optics?\nMirela Quandt")]
    (claim,) = claims.check("Who leads the owner of Tarnix?", "Mirela Quandt leads Brindle Optics.", sources)
    assert claim.supported
    assert claim.lesson_id == "b"

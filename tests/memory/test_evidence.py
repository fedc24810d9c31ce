"""Evidence: each figure says what its name says."""

import numpy as np
import pytest

from everlearn.memory.evidence import FEATURES, evidence
from everlearn.memory.key import KeyMaker
from toys import ToyEncoder

KEYS = KeyMaker(ToyEncoder())
RELATION = np.ones(KEYS.width, np.float32)


def found(query: str, entry: str) -> dict[str, float]:
    asks, says = KEYS.key(query), KEYS.key(entry)
    cosine = float(asks.vector @ says.vector)
    return dict(zip(FEATURES, evidence(asks.phrase, says.phrase, cosine, RELATION), strict=True))


def test_equal_prompts_leave_nothing_over():
    same = found("Who founded Halvorsen Works?", "Who founded Halvorsen Works?")
    assert same["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert same["covered_query"] == same["covered_entry"] == pytest.approx(1.0)
    assert same["unmatched_query"] == same["unmatched_entry"] == same["left_query"] == same["left_entry"] == 0.0
    assert same["left_cosine"] == same["left_both_query"] == same["left_late_entry"] == 1.0
    assert same["matched_names_entry"] == 1.0
    assert same["unmatched_names_entry"] == 0.0


def test_another_subject_shows_in_the_names():
    other = found("Who founded Brimstad Works?", "Who founded Halvorsen Works?")
    assert other["matched_names_entry"] == other["matched_names_query"] == 0.5
    assert other["unmatched_names_entry"] > 0.5
    assert other["left_query"] == other["left_entry"] == 1.0


def test_another_relation_shows_in_what_is_left():
    other = found("Who owns Halvorsen Works?", "Who founded Halvorsen Works?")
    assert other["matched_names_entry"] == 1.0
    assert other["unmatched_names_entry"] == 0.0
    assert other["left_both_query"] < 0.9
    assert other["shared_subject"] > 0.3
    assert other["left_relation"] == pytest.approx(other["left_content_cosine"], abs=1e-5)


def test_one_side_that_says_more_is_told_from_two_that_differ():
    more = found("Who founded Halvorsen Works and Brimstad?", "Who founded Halvorsen Works?")
    assert more["left_entry"] == 0.0
    assert more["left_query"] == 1.0
    assert more["left_both_query"] == more["plain_best"] == 0.0


def test_signs_of_another_question():
    assert found("Who opens track 8?", "Who opens track 9?")["numbers"] == 0.0
    assert found("When did Anna win?", "Who did Anna beat?")["asked"] == 0.0
    assert found("Who did not win?", "Who did win?")["modifiers"] == 1.0
    assert found("Who is the mother of Anna?", "Who is the father of Anna?")["opposites"] == 1.0


def test_what_is_rare_weighs_more():
    name, grammar = found("the Halvorsen", "the Brimstad"), found("a Halvorsen", "the Halvorsen")
    assert name["covered_entry"] < 0.5 < grammar["covered_entry"]


@pytest.mark.parametrize("query", ["?a", "1", "the of and", "a " * 150])
def test_every_figure_is_finite(query: str):
    for value in (found(query, "Who founded Halvorsen Works?") | found("who", query)).values():
        assert np.isfinite(value)

"""The gate: the packaged numbers, and what each feature is evidence for."""

import numpy as np
import pytest

from everlearn.memory.gate import FEATURES, Gate, features, unmatched
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


def test_features_come_in_the_named_order():
    found = dict(
        zip(FEATURES, features(KEYS.key("who opened it in 1990"), KEYS.key("who opened it in 1991")), strict=True)
    )
    assert found["numbers_agree"] == 0.0
    assert found["only_in_query"] > 0.0
    assert found["only_in_entry"] > 0.0
    assert -1.0 <= found["cosine"] <= 1.0


def test_unmatched_takes_words_of_one_stem_for_one():
    assert unmatched({"released": 1.0, "zorblat": 2.0}, {"release": 1.0}) == 2.0
    assert unmatched({}, {"a": 1.0}) == 0.0


def test_probability_rises_with_the_cosine_alone():
    gate = Gate.packaged()
    assert gate.weights[FEATURES.index("cosine")] > 0
    assert gate.weights[FEATURES.index("only_in_entry")] < 0


@pytest.mark.parametrize("text", ["", "???", "你好吗", "🥐", "مرحبا"])
def test_any_script_has_a_key(text):
    key = KEYS.key(text)
    assert np.isfinite(key.vector).all()
    assert all(0.0 < r < 20.0 for r in key.signature.values())

"""Phrases: words line up with the encoder's pieces, and their states survive being kept."""

import numpy as np
import pytest

from everlearn.memory.key import KeyMaker
from everlearn.memory.phrase import pack, pooled, spans, stem, unpack
from toys import ToyEncoder

KEYS = KeyMaker(ToyEncoder())


def rows(*values: float) -> np.ndarray:
    return np.array([[v, 2.0 * v] for v in values], np.float32).reshape(len(values), 2)


def test_a_word_is_the_mean_of_its_pieces():
    text = "Zorblat bakes"
    states = pooled(text, rows(9.0, 1.0, 3.0, 5.0, 9.0), [(0, 0), (0, 3), (3, 7), (8, 13), (0, 0)])
    assert states.tolist() == rows(2.0, 5.0).tolist()


def test_words_behind_the_last_piece_are_left_out_and_those_between_are_zero():
    text = "one two three four"
    states = pooled(text, rows(1.0, 3.0), [(0, 3), (8, 13)])
    assert states.tolist() == rows(1.0, 0.0, 3.0).tolist()
    assert pooled("", rows(), []).shape == (0, 2)


def test_punctuation_belongs_to_no_word():
    text = "no, never!"
    assert spans(text) == [(0, 2), (4, 9)]
    states = pooled(text, rows(1.0, 7.0, 3.0, 7.0), [(0, 2), (2, 3), (4, 9), (9, 10)])
    assert states.tolist() == rows(1.0, 3.0).tolist()


def test_kept_states_come_back_within_a_step_of_their_byte():
    states = np.random.default_rng(0).standard_normal((7, 64)).astype(np.float32)
    packed = pack(states)
    assert len(packed) == 7 * (64 + 2)
    back = unpack(packed, 64)
    assert np.abs(back - states).max() <= 1.01 * np.abs(states).max() / 127
    assert unpack(pack(states[:0]), 64).shape == (0, 64)
    assert np.array_equal(unpack(pack(np.zeros((2, 64), np.float32)), 64), np.zeros((2, 64)))


def test_states_that_were_cut_off_are_refused():
    with pytest.raises(ValueError, match="no word states 64 wide"):
        unpack(pack(np.ones((2, 64), np.float32))[:-1], 64)


def test_a_phrase_knows_names_stems_and_rarity():
    found = KEYS.key("Who founded Halvorsen Works in 1987?").phrase
    assert found.words == ("who", "founded", "halvorsen", "works", "in", "1987")
    assert found.named.tolist() == [False, False, True, True, False, True]
    assert found.rarity[2] > found.rarity[4]
    assert np.allclose(np.linalg.norm(found.unit, axis=1), 1.0, atol=1e-5)
    assert found.states.shape == found.plain.shape == (6, KEYS.width)


@pytest.mark.parametrize(("word", "other"), [("released", "release"), ("bird", "birds"), ("cats", "cat")])
def test_forms_of_a_word_share_a_stem(word: str, other: str):
    assert stem(word).startswith(stem(other)) or stem(other).startswith(stem(word))


@pytest.mark.parametrize("text", ["", "???", "你好吗", "🥐", "مرحبا", "a" * 5_000, "\x00 word"])
def test_any_text_has_a_phrase(text: str):
    found = KEYS.key(text).phrase
    assert len(found.words) == len(found.rarity) == len(found.states) == len(found.plain)

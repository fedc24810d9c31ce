"""The cursor: waits, follows, falls silent."""

import torch

from everlearn.memory.correction import Correction
from everlearn.memory.cursor import PATIENCE, Cursor

STEPS = torch.arange(6.0).reshape(3, 2)


def cursor(residual: float = 1.0) -> Cursor:
    return Cursor("lesson", Correction((5, 6, 7), {1: STEPS}), residual)


def test_follows_the_answer_to_its_end():
    c = cursor()
    seen = []
    for token in (5, 6, 7):
        seen.append((c.target, c.corrections()[1].tolist()))
        c.advance(token)
    assert seen == [(5, [0.0, 1.0]), (6, [2.0, 3.0]), (7, [4.0, 5.0])]
    assert c.target is None


def test_waits_at_the_first_token_but_not_for_ever():
    c = cursor()
    for _ in range(PATIENCE):
        c.advance(99)
        assert c.target == 5
    c.advance(99)
    assert c.target is None


def test_falls_silent_when_the_answer_is_left_half_way():
    c = cursor()
    c.advance(5)
    c.advance(99)
    assert c.target is None


def test_a_value_of_fewer_steps_adds_nothing_behind_them():
    c = Cursor("lesson", Correction((5, 6, 7), {1: STEPS[:1]}), 1.0)
    assert c.corrections()[1].tolist() == [0.0, 1.0]
    c.advance(5)
    assert c.corrections() == {}
    assert c.target == 6
    assert c.corrects


def test_a_step_at_which_nothing_is_changed_is_not_counted_as_corrected():
    c = Cursor("lesson", Correction((5, 6, 7), {1: STEPS[:1]}), 1.0, output=False)
    assert c.corrects
    c.advance(5)
    assert c.target == 6
    assert not c.corrects


def test_residual_scales_and_zero_is_silent():
    assert torch.equal(cursor(0.5).corrections()[1], 0.5 * STEPS[0])
    assert cursor(0.0).target is None

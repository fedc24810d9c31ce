"""The figures of continual learning, on a vector worked by hand."""

from __future__ import annotations

import pytest

from everlearn.evaluation.continual import scores_of, spread
from everlearn.evaluation.heat_map import heat_map

R = [[80, 20, 10], [70, 75, 15], [60, 65, 90]]
B = [10, 12, 8]


def test_the_vector_worked_by_hand():
    found = scores_of(R, B).to_dict()
    assert found["ACC"] == pytest.approx(71.667, abs=1e-3)
    assert found["BWT"] == pytest.approx(-15)
    assert found["FWT"] == pytest.approx(7.5)
    assert found["forgetting"] == pytest.approx(15)
    assert found["learning_accuracy"] == pytest.approx(81.667, abs=1e-3)


def test_the_best_of_forgetting_leaves_the_last_row_out():
    better_at_the_end = [[50, 0, 0], [60, 70, 0], [90, 65, 80]]
    assert scores_of(better_at_the_end, [0, 0, 0]).forgetting == pytest.approx(((60 - 90) + (70 - 65)) / 2)


def test_joint_training_has_a_single_row():
    found = scores_of([[60, 65, 90]], B)
    assert found.accuracy == pytest.approx(71.667, abs=1e-3)
    assert (found.backward_transfer, found.forward_transfer, found.forgetting) == (None, None, None)


def test_a_matrix_that_does_not_fit_is_our_mistake():
    for wrong in ([[1, 2]], [[1, 2, 3], [1, 2, 3]]):
        with pytest.raises(AssertionError):
            scores_of(wrong, B)


def test_the_interval_of_several_seeds():
    mean, half = spread([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2)
    assert half == pytest.approx(4.303 / 3**0.5)
    assert spread([5.0]) == (5.0, 0.0)


def test_the_heat_map_holds_every_score_and_no_markup_of_names():
    picture = heat_map({"a<b": R, "joint": [R[2]]}, ["one", "two", "three"])
    assert picture.startswith("<svg")
    assert "a&lt;b" in picture
    for row in R:
        for score in row:
            assert f">{score:.1f}<" in picture
    assert "after all" in picture

"""Pruning: how many weights go, that no layer is emptied, and that scoring changes nothing."""

from __future__ import annotations

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.models.base import BaseModel
from everlearn.models.pruning import magnitude, prune, pruned_matrices, synaptic_flow
from toys import tiny_module


@pytest.fixture
def model():
    return BaseModel(tiny_module(), name="toy", digest="a" * 64)


def shares(model):
    return {name: float((p == 0).float().mean()) for name, p in pruned_matrices(model).items()}


def test_the_flow_is_the_derivative_of_a_model_of_positive_weights(model):
    """Checked with differences: a weight's score is the change of R when it grows, times the weight."""
    scores = synaptic_flow(model)
    name, matrix = next((n, p) for n, p in pruned_matrices(model).items() if "down_proj" in n)
    place = divmod(int(scores[name].argmax()), matrix.shape[1])  # a large score stands out of the norms' rounding
    with torch.no_grad():
        for p in model.module.parameters():
            p.abs_()

        def flow(factor):
            matrix.data[place] = weight * factor
            return float(model.module(inputs_embeds=ones, use_cache=False).logits.sum())

        model.module.double()
        ones, weight = torch.ones(1, 2, model.hidden_size).double(), float(matrix[place])
        assert float(scores[name][place]) == pytest.approx((flow(1.05) - flow(0.95)) / 0.1, rel=0.02)


def test_scoring_leaves_the_model_as_it_was(model):
    before = {n: p.clone() for n, p in model.module.named_parameters()}
    synaptic_flow(model)
    assert all(torch.equal(before[n], p) for n, p in model.module.named_parameters())
    assert not any(p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("score", [synaptic_flow, magnitude])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_as_many_go_as_were_asked_for_and_no_layer_is_emptied(model, score, share):
    outside = {n: p.clone() for n, p in model.module.named_parameters() if n not in pruned_matrices(model)}
    seen = []
    gone = prune(model, share, score=score, rounds=3, balance=0.8, progress=lambda *step: seen.append(step))
    assert gone == pytest.approx(share, abs=0.01)
    assert max(shares(model).values()) <= 1 - 0.8 * (1 - share) + 0.01
    assert all(torch.equal(outside[n], p) for n, p in model.module.named_parameters() if n in outside)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_all_layers_alike_where_that_is_wanted(model):
    prune(model, 0.5, rounds=2, balance=1.0)
    assert all(share == pytest.approx(0.5, abs=0.02) for share in shares(model).values())


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.0}, {"rounds": 0}, {"balance": 2.0}])
def test_what_cannot_be_is_told(model, wrong):
    with pytest.raises(SettingsError, match="balance"):
        prune(model, **{"share": 0.5, **wrong})

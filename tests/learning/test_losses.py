"""Losses of a batch: reading what all rows begin with once changes nothing but the time."""

from __future__ import annotations

import pytest
import torch

from everlearn.learning import losses
from everlearn.learning.examples import Encoded, Example, encoded
from everlearn.learning.losses import answer_logits, answer_logits_alike, batch_of, shared_prefix
from everlearn.models.base import BaseModel
from learning.training_toys import TEXT, toy_weights
from toys import tiny_module

EXAMPLES = [Example("Who bakes?", "Mo"), Example("Who sings at dawn in the yard?", "Li and Bo"), Example("Who?", "I")]


def rows():
    return [encoded(TEXT, example) for example in EXAMPLES]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_the_shared_beginning_is_read_once_and_logits_are_the_same(family, monkeypatch):
    monkeypatch.setattr(losses, "_WORTH_SHARING", 1)
    model = BaseModel(tiny_module(family), name="toy", digest="a" * 64)
    assert shared_prefix(rows()) > 3
    wanted = answer_logits(model, batch_of(rows(), model.device))
    found = answer_logits_alike(model, rows())
    real = batch_of(rows(), model.device).labels != losses.IGNORED
    torch.testing.assert_close(found[real], wanted[real], rtol=1e-4, atol=1e-4)


def test_gradients_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "_WORTH_SHARING", 1)
    weights = toy_weights(tmp_path)
    found = []
    for compute in (
        lambda: answer_logits(weights.model, batch_of(rows(), weights.model.device)),
        lambda: answer_logits_alike(weights.model, rows()),
    ):
        for parameter in weights.parameters().values():
            parameter.grad = None
        with weights.on():
            real = batch_of(rows(), weights.model.device).labels != losses.IGNORED
            compute()[real].square().mean().backward()
        found.append([p.grad.clone() for p in weights.parameters().values()])
    assert any(grad.abs().max() > 0 for grad in found[0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_rows_that_share_nothing_or_everything():
    def row(*prompt):
        return Encoded(list(prompt), [1, 2])

    assert shared_prefix([row(1, 2, 3), row(4, 5)]) == 0
    assert shared_prefix([row(1, 2, 3), row(1, 2, 3)]) == 2
    assert shared_prefix([row(1, 2, 3, 4), row(1, 2)]) == 1
    assert shared_prefix([row(7)]) == 0

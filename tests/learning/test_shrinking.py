"""An adapter is scaled to the least strength that still answers."""

from __future__ import annotations

import torch

from everlearn.learning.examples import Example, encoded
from everlearn.learning.probing import drift_of
from everlearn.learning.shrinking import shrink
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from learning.training_toys import TEXT, known, task, toy_weights

LEARNT = task("a", ["kp", "qd", "vz", "mm"])
ROWS = [encoded(TEXT, e) for e in LEARNT]
ELSEWHERE = [encoded(TEXT, Example(q, a)) for q, a in (("rain?", "wet"), ("How is the sea?", "blue"))]


def trained(folder, epochs=120):
    weights = toy_weights(folder)
    Trainer(weights, TEXT, TrainingSettings(epochs=epochs, batch=4, micro_batch=4, rate=1e-2)).train(LEARNT)
    return weights


def test_less_of_it_answers_the_same_and_changes_less(tmp_path):
    weights = trained(tmp_path)
    assert known(weights, LEARNT) == 1
    full = weights.adapters.state("new")
    before = sum(drift_of(weights.adapters, "new", ELSEWHERE)[1])
    seen = []
    least = shrink(weights.adapters, "new", ROWS, progress=lambda *step: seen.append(step))
    assert least < 1
    assert known(weights, LEARNT) == 1
    assert sum(drift_of(weights.adapters, "new", ELSEWHERE)[1]) < before
    for name, tensor in weights.adapters.state("new").items():
        assert torch.equal(tensor, full[name] * least if ".lora_B." in name else full[name])
    assert seen[-1][0] == seen[-1][1]


def test_one_that_has_no_room_stays_as_it_is(tmp_path):
    weights = trained(tmp_path)
    full = weights.adapters.state("new")
    assert shrink(weights.adapters, "new", ROWS, strengths=(0.0,)) == 1.0
    assert all(torch.equal(tensor, full[name]) for name, tensor in weights.adapters.state("new").items())


def test_one_that_answers_nothing_is_left_alone(tmp_path):
    weights = toy_weights(tmp_path)
    full = weights.adapters.state("new")
    assert shrink(weights.adapters, "new", ROWS) == 1.0
    assert all(torch.equal(tensor, full[name]) for name, tensor in weights.adapters.state("new").items())

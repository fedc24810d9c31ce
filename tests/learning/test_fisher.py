"""Fisher information against a slow twin, the penalty, and the anchor on disk."""

from __future__ import annotations

import pytest
import torch

from everlearn.errors import FileFormatError, SettingsError
from everlearn.learning.examples import encoded
from everlearn.learning.fisher import Anchor, first_anchor, fisher
from everlearn.learning.losses import losses_of, soft_loss, soft_targets
from learning.training_toys import TEXT, task, toy_weights

ROWS = [encoded(TEXT, e) for e in task("a", ["kp", "qdx", "v"])]


@pytest.fixture
def weights(tmp_path):
    made = toy_weights(tmp_path)
    torch.manual_seed(1)
    for parameter in made.parameters().values():
        parameter.data.normal_(std=0.1)
    return made


def test_it_squares_the_gradient_of_each_example_and_not_of_the_batch(weights):
    found = fisher(weights, ROWS)
    sums = {n: torch.zeros_like(p) for n, p in weights.parameters().items()}
    for row in ROWS:
        with weights.on():
            losses_of(weights.model, [row]).sum().backward()
        for name, parameter in weights.parameters().items():
            sums[name] += parameter.grad**2 / len(ROWS)
            parameter.grad = None
    assert all(torch.allclose(found[n], sums[n], rtol=1e-4, atol=1e-9) for n in sums)
    with weights.on():
        losses_of(weights.model, ROWS).mean().backward()
    batch = sum(float((p.grad**2).sum()) for p in weights.parameters().values())
    assert batch < 0.9 * sum(float(t.sum()) for t in found.values())


def test_a_batch_gives_the_losses_of_its_rows_alone(weights):
    with weights.on():
        together = losses_of(weights.model, ROWS)
        alone = torch.cat([losses_of(weights.model, [row]) for row in ROWS])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_penalty_is_zero_at_the_anchor_and_grows_away_from_it(weights):
    anchor = first_anchor(weights, fisher(weights, ROWS))
    parameters = weights.parameters()
    assert float(anchor.penalty(parameters)) == 0
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.01)
    penalty = anchor.penalty(parameters)
    count = sum(p.numel() for p in parameters.values())
    assert float(penalty) == pytest.approx(0.5 * 0.01**2 * count, rel=1e-3)  # information has a mean of 1
    with weights.on():
        anchor.penalty(parameters).backward()
    assert all(bool((p.grad != 0).any()) for p in parameters.values())


def test_information_of_old_tasks_fades(weights):
    first = first_anchor(weights, fisher(weights, ROWS[:1]))
    new = fisher(weights, ROWS[1:])
    second = first.then(weights, new, decay=0.5)
    name = next(iter(new))
    assert torch.allclose(second.information[name], 0.5 * first.information[name] + new[name])


def test_an_anchor_comes_back_from_disk(weights, tmp_path):
    anchor = first_anchor(weights, fisher(weights, ROWS))
    anchor.save(tmp_path / "anchor.safetensors")
    again = Anchor.load(tmp_path / "anchor.safetensors")
    assert all(torch.equal(anchor.point[n], again.point[n]) for n in anchor.point)
    assert all(torch.equal(anchor.information[n], again.information[n]) for n in anchor.point)
    (tmp_path / "bad").write_bytes(b"\0" * 99)
    for wrong in ("bad", "missing"):
        with pytest.raises(FileFormatError):
            Anchor.load(tmp_path / wrong)


def test_no_example(weights):
    with pytest.raises(SettingsError, match="no example"):
        fisher(weights, [])


def test_soft_targets_are_met_by_their_own_logits_and_by_no_others():
    torch.manual_seed(0)
    logits = torch.randn(3, 50) * 3
    for temperature in (1.0, 2.0):
        targets = soft_targets(logits, likeliest=8, temperature=temperature)
        assert float(soft_loss(logits, targets, temperature)) == pytest.approx(0, abs=2e-3)
        assert float(soft_loss(torch.randn(3, 50), targets, temperature)) > 0.5
    whole = torch.softmax(logits, -1)
    kl = (whole * (whole.log() - torch.log_softmax(torch.zeros(3, 50), -1))).sum(1).mean()
    targets = soft_targets(logits, likeliest=50)
    assert float(soft_loss(torch.zeros(3, 50), targets)) == pytest.approx(float(kl), rel=0.01)

"""Experts: weighted as written, chosen by score and bias, balanced by the sign rule, nothing dropped."""

from __future__ import annotations

import pytest
import torch

from everlearn.models.apertis import balance_experts, expert_loads
from everlearn.models.apertis.experts import ApertisMoE, naive_experts

from .conftest import config_of, module_of, some_ids


def _block(**more) -> ApertisMoE:
    torch.manual_seed(0)
    block = ApertisMoE(config_of("experts", **more))
    for parameter in block.parameters():
        parameter.data.normal_(0, 0.3)
    block.gate.e_score_correction_bias.normal_(0, 0.3)
    return block.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n_shared_experts": 0},
        {"norm_topk_prob": False, "routed_scaling_factor": 2.5},
        {"num_experts": 32, "num_experts_per_tok": 8, "moe_intermediate_size": 8},
        {"num_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 8},
    ],
)
def test_outputs_are_the_weighted_sum(more):
    block = _block(**more)
    x = torch.randn(2, 7, 32)
    torch.testing.assert_close(block(x).flatten(0, 1), naive_experts(block, x.flatten(0, 1)), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("way", ["eager", "grouped_mm"])
def test_transformers_ways_through_the_experts_agree(way):
    ids = some_ids(2, 9)
    wanted = module_of("experts")(ids).logits
    torch.testing.assert_close(
        module_of("experts", experts_implementation=way)(ids).logits, wanted, atol=1e-4, rtol=1e-4
    )


def test_the_bias_decides_who_computes_and_not_how_much_it_counts():
    gate = _block().gate
    x = torch.randn(5, 32)
    gate.e_score_correction_bias.zero_()
    gate.e_score_correction_bias[3] = 10.0
    _, weights, numbers = gate(x)
    assert (numbers == 3).any(1).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    scores = (x @ gate.weight.T).sigmoid()
    share = scores.gather(1, numbers)
    torch.testing.assert_close(weights, share / share.sum(1, keepdim=True))


def test_the_sign_rule_balances_a_lopsided_router():
    """Without the rule one expert takes more than twice its share; with it all come within 15 %."""
    block = _block(num_experts=8, num_experts_per_tok=2).train()
    block.gate.e_score_correction_bias.zero_()
    direction = torch.randn(32)
    block.gate.weight.data[0] += direction * 0.5
    tokens = torch.randn(4096, 32) + direction

    def violation() -> float:
        with torch.no_grad():
            block.gate(tokens)
        return expert_loads(block)[0].max_violation

    before = violation()
    assert before > 1
    for _ in range(400):
        balance_experts(block, 5e-3)
        worst = violation()
    assert worst < 0.15
    assert abs(float(block.gate.e_score_correction_bias.sum())) < 1e-3


def test_every_choice_is_counted_once_and_none_is_dropped():
    module = module_of("experts").train()
    module(some_ids(2, 10), use_cache=False)
    loads = expert_loads(module)
    assert [load.layer for load in loads] == ["model.layers.1.mlp", "model.layers.2.mlp"]
    assert all(load.tokens == 2 * 10 * 2 for load in loads)
    balance_experts(module)
    assert all(load.tokens == 0 and load.max_violation == 0 for load in expert_loads(module))
    moved = module.model.layers[1].mlp.gate.e_score_correction_bias
    assert 0 < float(moved.abs().max()) <= 2 * module.config.router_bias_rate


def test_the_router_learns_from_the_output():
    module = module_of("experts").train()
    ids = some_ids(1, 9)
    module(ids, labels=ids).loss.backward()
    assert float(module.model.layers[1].mlp.gate.weight.grad.abs().sum()) > 0


def test_router_logits_can_be_asked_for():
    module = module_of("experts")
    logits = module.model(some_ids(1, 9), output_router_logits=True).router_logits
    assert [tuple(each.shape) for each in logits] == [(9, 8), (9, 8)]


def test_the_bias_is_saved_with_the_weights(tmp_path):
    module = module_of("experts")
    bias = torch.linspace(-1, 1, 8)
    module.model.layers[1].mlp.gate.e_score_correction_bias.copy_(bias)
    module.save_pretrained(tmp_path)
    loaded = type(module).from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(loaded.model.layers[1].mlp.gate.e_score_correction_bias, bias)

"""MLP kind `experts`: each token is computed by a few of many small MLPs, and by one that is shared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.integrations import use_experts_implementation

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.dense import ApertisMLP


class ApertisRouter(nn.Module):
    """Chooses experts by sigmoid(Wx) + bias, and weighs them by sigmoid(Wx) alone.

    The bias decides who computes, never how much it counts: so it can balance the load without pulling at the output.

    Source: DeepSeek-AI 2024, DeepSeek-V3, section 2.1.2; Wang et al. 2024, Auxiliary-Loss-Free Load Balancing.
    """

    e_score_correction_bias: Tensor
    load: Tensor

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        self.chosen, self.count = config.num_experts_per_tok, config.num_experts
        self.scale, self.normalised = config.routed_scaling_factor, config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(self.count, config.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(self.count))
        self.register_buffer("load", torch.zeros(self.count), persistent=False)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits [N, E], weights [N, k] and numbers [N, k] of the chosen experts for tokens [N, D]."""
        logits = hidden_states.float() @ self.weight.float().T
        scores = logits.sigmoid()
        numbers = (scores.detach() + self.e_score_correction_bias).topk(self.chosen, dim=-1, sorted=False).indices
        weights = scores.gather(1, numbers)
        if self.normalised:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if self.training:
            self.load += torch.bincount(numbers.flatten(), minlength=self.count)
        return logits, weights * self.scale, numbers


@use_experts_implementation
class ApertisExperts(nn.Module):
    """The weights of all experts in two tensors; transformers may choose a faster way through them."""

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        self.num_experts = config.num_experts
        width, inner = config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(self.num_experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(self.num_experts, width, inner))
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Sums what the chosen experts say of each token, weighted.

        Args:
            hidden_states: [N, D].
            top_k_index: [N, k] long.
            top_k_weights: [N, k].
        """
        total = torch.zeros_like(hidden_states)
        for expert in top_k_index.unique().tolist():
            token, choice = torch.where(top_k_index == expert)
            gate, up = nn.functional.linear(hidden_states[token], self.gate_up_proj[expert]).chunk(2, dim=-1)
            said = nn.functional.linear(self.act_fn(gate) * up, self.down_proj[expert])
            total.index_add_(0, token, (said * top_k_weights[token, choice, None]).to(total.dtype))
        return total


class ApertisMoE(nn.Module):
    """Router, experts and shared expert; named as in DeepSeek-V3."""

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        self.gate = ApertisRouter(config)
        self.experts = ApertisExperts(config)
        shared = config.n_shared_experts * config.moe_intermediate_size
        self.shared_experts = ApertisMLP(config, shared) if shared else None

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Returns [B, T, D]."""
        flat = hidden_states.flatten(0, -2)
        _, weights, numbers = self.gate(flat)
        total: Tensor = self.experts(flat, numbers, weights.to(flat.dtype)).view_as(hidden_states)
        return total if self.shared_experts is None else total + self.shared_experts(hidden_states)


def naive_experts(block: ApertisMoE, tokens: Tensor) -> Tensor:
    """The same for [N, D], token after token and expert after expert."""
    rows = []
    gate, experts = block.gate, block.experts
    for token in tokens:
        scores = torch.sigmoid(gate.weight @ token)
        chosen = (scores + gate.e_score_correction_bias).argsort(descending=True)[: gate.chosen].tolist()
        total = token.new_zeros(token.shape) if block.shared_experts is None else block.shared_experts(token)
        for expert in chosen:
            first, second = (experts.gate_up_proj[expert] @ token).chunk(2)
            share = scores[expert] / (scores[chosen].sum() if gate.normalised else 1.0) * gate.scale
            total = total + share * (experts.down_proj[expert] @ (experts.act_fn(first) * second))
        rows.append(total)
    return torch.stack(rows)


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """How the tokens since the last balancing spread over the experts of one layer.

    Attributes:
        layer: which one, as a module's name.
        tokens: choices counted.
        max_violation: most loaded expert / mean - 1; 0 is balance.
        idle: experts that no token chose.
    """

    layer: str
    tokens: int
    max_violation: float
    idle: int


def expert_loads(model: nn.Module) -> list[ExpertLoad]:
    """Returns the figures of each layer with experts since `balance_experts` was last called."""
    loads = []
    for name, router in model.named_modules():
        if isinstance(router, ApertisRouter):
            load = _everywhere(router.load)
            total = float(load.sum())
            worst = float(load.max()) / (total / router.count) - 1 if total else 0.0
            loads.append(ExpertLoad(name.removesuffix(".gate"), int(total), worst, int((load == 0).sum())))
    return loads


@torch.no_grad()
def balance_experts(model: nn.Module, rate: float | None = None) -> None:
    """Moves each router's bias towards balance and counts anew: to be called after each optimizer step.

    Experts with less than the mean load gain `rate`, those with more lose it.

    Args:
        model: any module with routers of the family.
        rate: step of the bias; that of the model's configuration by default; 0 only counts anew.
    """
    if rate is None:
        config = getattr(model, "config", None)
        rate = float(getattr(config, "router_bias_rate", 0.0))
    for router in model.modules():
        if isinstance(router, ApertisRouter):
            load = _everywhere(router.load)
            step = torch.sign(load.mean() - load) * rate
            router.e_score_correction_bias += step - step.mean()
            router.load.zero_()


def _everywhere(load: Tensor) -> Tensor:
    """Returns the load summed over all processes that train together."""
    load = load.clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(load)
    return load

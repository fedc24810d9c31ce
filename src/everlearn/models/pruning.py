"""Pruning without data: which weights carry the flow from input to output, and setting the others to zero.

Source: Tanaka et al. 2020, Pruning neural networks without any data by iteratively conserving synaptic flow, arXiv
2006.05467, algorithm 1. The balance between layers is ours: a global threshold may empty a layer, and a transformer
with an empty layer is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from everlearn.errors import SettingsError
from everlearn.models.base import BaseModel

Progress = Callable[[int, int], None]
_TOKENS = 2


def pruned_matrices(model: BaseModel) -> dict[str, nn.Parameter]:
    """The weights that pruning may take: matrices of the blocks' linear layers, by name."""
    inside = {id(p) for block in model.blocks for p in block.parameters()}
    named = model.module.named_parameters()
    return {name: p for name, p in named if id(p) in inside and p.dim() == 2 and name.endswith(".weight")}


def synaptic_flow(model: BaseModel) -> dict[str, Tensor]:
    """How much of the flow runs through each weight: |dR/dw * w| of a model whose weights are all positive.

    Args:
        model: is computed with in float32 or wider; its weights are the old bits afterwards.

    Returns:
        For each matrix of `pruned_matrices` its scores, of the same shape, all at least 0.
    """
    module, matrices = model.module, pruned_matrices(model)
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}
    try:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.abs_()
        for parameter in matrices.values():
            parameter.requires_grad_(True)
        ones = torch.ones(1, _TOKENS, model.hidden_size, device=model.device, dtype=next(module.parameters()).dtype)
        flow = module(inputs_embeds=ones, use_cache=False).logits.sum()
        gradients = torch.autograd.grad(flow, list(matrices.values()))
        return {n: (g * p.detach()).abs() for (n, p), g in zip(matrices.items(), gradients, strict=True)}
    finally:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(kept[name])
        module.requires_grad_(False)


@torch.no_grad()
def magnitude(model: BaseModel) -> dict[str, Tensor]:
    """The plain score that every other one has to beat: the size of a weight."""
    return {name: p.detach().abs() for name, p in pruned_matrices(model).items()}


def prune(
    model: BaseModel,
    share: float,
    *,
    score: Callable[[BaseModel], Mapping[str, Tensor]] = synaptic_flow,
    rounds: int = 10,
    balance: float = 0.8,
    progress: Progress | None = None,
) -> float:
    """Set the weights with the lowest scores to zero, round by round.

    Args:
        model: is changed.
        share: of the weights of its blocks that go, between 0 and 1.
        score: of each weight.
        rounds: after each the scores are computed anew, so that no layer loses all of its flow at once.
        balance: each layer keeps at least this share of what layers keep on average; 1 = all layers alike.
        progress: called with (rounds done, all).

    Returns:
        The share of the blocks' weights that are zero now.

    Raises:
        SettingsError: a share, balance or number of rounds that is impossible.
    """
    if not 0 < share < 1 or not 0 <= balance <= 1 or rounds < 1:
        raise SettingsError(
            f"share is {share:g}, balance {balance:g}, rounds {rounds}.",
            hint="Wanted: between 0 and 1; 0 to 1; 1 or more.",
        )
    matrices = pruned_matrices(model)
    alive = {name: torch.ones_like(p, dtype=torch.bool) for name, p in matrices.items()}
    for number in range(1, rounds + 1):
        kept = (1.0 - share) ** (number / rounds)
        alive = _survivors({n: s.masked_fill(~alive[n], -1.0) for n, s in score(model).items()}, kept, balance)
        with torch.no_grad():
            for name, parameter in matrices.items():
                parameter.mul_(alive[name])
        if progress is not None:
            progress(number, rounds)
    total = sum(mask.numel() for mask in alive.values())
    return 1.0 - sum(int(mask.sum()) for mask in alive.values()) / total


def _survivors(scores: Mapping[str, Tensor], kept: float, balance: float) -> dict[str, Tensor]:
    """The weights that stay: the best of each layer up to its floor, and of all others the best anywhere."""
    masks: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, score in scores.items():
        flat = score.flatten()
        floor = min(int(balance * kept * len(flat)), len(flat))
        mask = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
        mask[flat.topk(floor).indices] = True
        masks[name], rest[name] = mask, flat.masked_fill(mask, -2.0)
    wanted = round(kept * sum(len(m) for m in masks.values())) - sum(int(m.sum()) for m in masks.values())
    if wanted > 0:
        names = list(rest)
        best = torch.cat([rest[name] for name in names]).topk(wanted).indices
        taken = torch.zeros(sum(len(rest[n]) for n in names), dtype=torch.bool, device=best.device)
        taken[best] = True
        for name, part in zip(names, torch.split(taken, [len(rest[n]) for n in names]), strict=True):
            masks[name] |= part
    return {name: mask.view_as(scores[name]) for name, mask in masks.items()}

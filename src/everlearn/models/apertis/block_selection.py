"""Which blocks of keys a token reads by content."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BlockPlan:
    """Blocks and how many of them a token reads.

    Attributes:
        size: tokens of a block.
        selected: how many are chosen by content.
        local: how many are always read, up to the token's own; the first block of the text is always read, too.
    """

    size: int
    selected: int
    local: int


def block_means(key: Tensor, size: int) -> Tensor:
    """Returns the mean key of each complete block [B, G, S // size, C]."""
    complete = key.shape[2] // size
    return key[:, :, : complete * size].unflatten(2, (complete, size)).mean(3)


def select_blocks(query: Tensor, means: Tensor, first: int, plan: BlockPlan) -> tuple[Tensor, Tensor]:
    """Selects blocks for each token: those whose mean key its queries like best.

    Only complete blocks that end before the token's local ones can be chosen, so a token needs nothing that comes after
    it, and chooses the same whether it is read alone or among others.

    Args:
        query: [B, H, T, C]; the heads that share keys choose together, by the mean of their queries.
        means: [B, G, N, C].
        first: place of the first query in its text.
        plan: how many to choose, K at most.

    Returns:
        [B, G, T, K] long, and bool of the same shape: False where fewer than K could be chosen.

    Source: Lu et al. 2025, MoBA, section 2.2; one choice for a group of heads as in Yuan et al. 2025, NSA.
    """
    groups, blocks = means.shape[1:3]
    asked = query.detach().unflatten(1, (groups, -1)).mean(2)
    scores = asked @ means.detach().transpose(2, 3)
    own = (torch.arange(query.shape[2], device=query.device) + first) // plan.size
    number = torch.arange(blocks, device=query.device)
    allowed = (number >= 1) & (number <= own[:, None] - plan.local)
    scores = scores.masked_fill(~allowed, -torch.inf)
    best, chosen = scores.topk(min(plan.selected, blocks), dim=-1)
    return chosen, best > -torch.inf


def naive_visible(query: Tensor, key: Tensor, plan: BlockPlan) -> Tensor:
    """Returns which keys each query reads [B, G, T, S] bool, one query after the other."""
    query, key = query.detach(), key.detach()
    rows, groups, length = key.shape[:3]
    first = length - query.shape[2]
    visible = torch.zeros(rows, groups, query.shape[2], length, dtype=torch.bool)
    for row in range(rows):
        for group in range(groups):
            for place in range(query.shape[2]):
                seen = first + place + 1
                own = (seen - 1) // plan.size
                asked = query[row].unflatten(0, (groups, -1))[group, :, place].mean(0)
                liking = {
                    n: float(asked @ key[row, group, n * plan.size : (n + 1) * plan.size].mean(0))
                    for n in range(1, own - plan.local + 1)
                }
                blocks = {0, *range(max(own - plan.local + 1, 0), own + 1)}
                blocks |= set(sorted(liking, key=lambda n: -liking[n])[: plan.selected])
                for n in blocks:
                    visible[row, group, place, n * plan.size : min((n + 1) * plan.size, seen)] = True
    return visible


def naive_block_attention(query: Tensor, key: Tensor, value: Tensor, plan: BlockPlan, scaling: float) -> Tensor:
    """Attention over all keys with those masked that are not read: [B, H, T, C]."""
    share = query.shape[1] // key.shape[1]
    visible = naive_visible(query, key, plan).repeat_interleave(share, dim=1)
    scores = query @ key.repeat_interleave(share, dim=1).transpose(2, 3) * scaling
    weights = torch.softmax(scores.masked_fill(~visible, -torch.inf), dim=-1)
    return weights @ value.repeat_interleave(share, dim=1)

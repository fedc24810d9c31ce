"""Attention over selected blocks, without a matrix of all scores.

Each token reads parts: the first block with the local ones, and every selected block. A part gives an output and the
logarithm of its weights' sum; the parts are then joined as if all scores had stood in one softmax. Tokens that selected
the same block are gathered into tiles, so that a block's keys are multiplied with many queries at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from everlearn.models.apertis.block_selection import BlockPlan, block_means, select_blocks

_SEGMENT = 4_096  # queries at once
_ROWS = 64  # rows of a batched product at once
_TILE = 32  # queries of a tile; each stands for all heads of its group


class _Part(NamedTuple):
    """Output [..., R, C] and logarithm of the sum of weights [..., R] of what a token read of some keys."""

    output: Tensor
    weight: Tensor


def block_attention(query: Tensor, key: Tensor, value: Tensor, plan: BlockPlan, scaling: float) -> Tensor:
    """Lets each token read the first block, its local blocks and those it selects.

    Args:
        query: [B, H, T, C].
        key: [B, G, S, C]; the last T places are those of the queries.
        value: [B, G, S, C].
        plan: the blocks.
        scaling: of the scores.

    Returns:
        [B, H, T, C].
    """
    length, tokens = key.shape[2], query.shape[2]
    groups = key.shape[1]
    first = length - tokens
    means = block_means(key, plan.size)
    missing = -length % plan.size
    keys, values = (F.pad(x, (0, 0, 0, missing)).unflatten(2, (-1, plan.size)) for x in (key, value))
    outputs: list[Tensor] = []
    # Segments begin where blocks begin, but for the first one of a text that goes on.
    cut = [min(_SEGMENT - first % plan.size, tokens), _SEGMENT]
    start = 0
    while start < tokens:
        part = query[:, :, start : start + cut[min(len(outputs), 1)]]
        place = first + start
        grouped = part.unflatten(1, (groups, -1)).transpose(2, 3)  # [B, G, n, R, C]
        parts = [_near(grouped * scaling, keys, values, place, plan)]
        if plan.selected and means.shape[2]:
            chosen, valid = select_blocks(part, means, place, plan)
            if bool(valid.any()):
                parts.append(_far(grouped * scaling, keys, values, chosen, valid))
        outputs.append(_joined(parts).transpose(2, 3).flatten(1, 2))
        start += part.shape[2]
    return torch.cat(outputs, dim=2).to(query.dtype)


def token_attention(query: Tensor, key: Tensor, value: Tensor, plan: BlockPlan, scaling: float) -> Tensor:
    """The same for one token [B, H, 1, C], the last one: its blocks are gathered and read at once."""
    groups, length = key.shape[1], key.shape[2]
    own = (length - 1) // plan.size
    chosen, valid = select_blocks(query, block_means(key, plan.size), length - 1, plan)
    always = torch.tensor([0, *range(max(own - plan.local + 1, 1), own + 1)], device=key.device)
    always = always.expand(*chosen.shape[:2], -1)
    blocks = torch.cat((always, chosen[:, :, 0]), dim=-1)
    read = torch.cat((torch.ones_like(always, dtype=torch.bool), valid[:, :, 0]), dim=-1)
    places = blocks[..., None] * plan.size + torch.arange(plan.size, device=key.device)
    read = (read[..., None] & (places < length)).flatten(2)[:, :, None]
    at = places.flatten(2).clamp(max=length - 1)[..., None].expand(-1, -1, -1, key.shape[-1])
    scores = query.unflatten(1, (groups, -1))[:, :, :, 0] @ key.gather(2, at).transpose(2, 3) * scaling
    weights = torch.softmax(scores.float().masked_fill(~read, -torch.inf), dim=-1).to(value.dtype)
    return (weights @ value.gather(2, at)).flatten(1, 2)[:, :, None]


def _joined(parts: list[_Part]) -> Tensor:
    """Joins parts [B, G, n, K, R, C] to [B, G, n, R, C]."""
    weights = torch.softmax(torch.cat([part.weight for part in parts], dim=3), dim=3)
    shares = weights.split([part.weight.shape[3] for part in parts], dim=3)
    joined = [(part.output * share[..., None]).sum(3) for part, share in zip(parts, shares, strict=True)]
    return torch.stack(joined).sum(0)


def _near(query: Tensor, keys: Tensor, values: Tensor, place: int, plan: BlockPlan) -> _Part:
    """The first block and the local ones: [B, G, n, 1, R, C] from queries [B, G, n, R, C]."""
    count = query.shape[2]
    before = place % plan.size
    after = -(before + count) % plan.size
    query = F.pad(query, (0, 0, 0, 0, before, after)).unflatten(2, (-1, plan.size))  # [B, G, M, size, R, C]
    own = torch.arange(query.shape[2], device=query.device) + place // plan.size
    back = torch.arange(plan.local - 1, -1, -1, device=query.device)
    blocks = torch.cat((torch.zeros_like(own)[:, None], own[:, None] - back), dim=1)  # [M, 1 + local]
    allowed = torch.ones_like(blocks, dtype=torch.bool)
    allowed[:, 1:] = blocks[:, 1:] >= 1  # the first block is there already
    inside = torch.arange(plan.size, device=query.device)
    key_places = blocks[..., None] * plan.size + inside
    query_places = own[:, None] * plan.size + inside
    mask = (key_places[:, None] <= query_places[:, :, None, None]) & allowed[
        :, None, :, None
    ]  # [M, size, 1 + local, size]
    at = blocks.clamp(min=0)
    near_keys, near_values = (x[:, :, at].flatten(3, 4) for x in (keys, values))  # [B, G, M, (1 + local) size, C]
    rows, groups, _, _, heads, width = query.shape
    unread = ~mask.flatten(2).repeat_interleave(heads, dim=1)
    part = _read(query.flatten(3, 4).flatten(0, 2), near_keys.flatten(0, 2), near_values.flatten(0, 2), unread)
    output = part.output.view(rows, groups, -1, 1, heads, width)[:, :, before : before + count]
    return _Part(output, part.weight.view(rows, groups, -1, 1, heads)[:, :, before : before + count])


def _far(query: Tensor, keys: Tensor, values: Tensor, chosen: Tensor, valid: Tensor) -> _Part:
    """The selected blocks: [B, G, n, K, R, C] from queries [B, G, n, R, C] and choices [B, G, n, K]."""
    rows, groups, count, picks = chosen.shape
    blocks = keys.shape[2]
    heads, width = query.shape[3:]
    texts = torch.arange(rows * groups, device=query.device).view(rows, groups, 1, 1)
    block_of = (texts * blocks + chosen).masked_fill(~valid, rows * groups * blocks).flatten()  # of each pair
    tiles, tile_block = _tiles(block_of, rows * groups * blocks)
    pairs = len(block_of)
    asked = query.reshape(-1, heads, width)[tiles.clamp(max=pairs - 1) // picks]  # [N, TILE, R, C]
    part = _read(asked.flatten(1, 2), keys.flatten(0, 2)[tile_block], values.flatten(0, 2)[tile_block])
    output = part.output.new_zeros(pairs + 1, heads, width)
    weight = part.weight.new_full((pairs + 1, heads), -torch.inf)
    at = tiles.flatten()  # places past the last pair take what only fills up a tile
    output = output.index_put((at,), part.output.view(-1, heads, width))[:pairs]
    weight = weight.index_put((at,), part.weight.view(-1, heads))[:pairs]
    shape = (rows, groups, count, picks, heads)
    return _Part(output.view(*shape, width), weight.view(shape))


def _tiles(block_of: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """Gathers pairs of the same block into tiles.

    Args:
        block_of: [P] long, block of each pair; `blocks` for a pair that does not count.
        blocks: how many there are.

    Returns:
        pairs of each tile [N, TILE], P where a tile is not full; and the block of each tile [N].
    """
    order = block_of.argsort(stable=True)
    counts = torch.bincount(block_of, minlength=blocks + 1)[:blocks]
    ends = counts.cumsum(0)
    tiles_of = (counts + _TILE - 1) // _TILE
    tile_block = torch.repeat_interleave(torch.arange(blocks, device=block_of.device), tiles_of)
    number = torch.arange(len(tile_block), device=block_of.device) - (tiles_of.cumsum(0) - tiles_of)[tile_block]
    slots = (ends - counts)[tile_block] + number * _TILE
    slots = slots[:, None] + torch.arange(_TILE, device=block_of.device)
    full = slots < ends[tile_block][:, None]
    pairs = len(block_of)
    return torch.where(full, order[slots.clamp(max=pairs - 1)], pairs), tile_block


def _read(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> _Part:
    """Attention of each row alone: output [N, Q, C] and logarithm of the weights' sum [N, Q].

    A few rows at a time, so that their scores stay in the processor's cache.

    Args:
        query: [N, Q, C], scaled.
        keys: [N, S, C].
        values: [N, S, C].
        mask: [M, Q, S] bool, True where nothing is read; row n has mask n modulo M.
    """
    outputs, totals = [], []
    for n in range(0, len(query), _ROWS):
        scores = (query[n : n + _ROWS] @ keys[n : n + _ROWS].transpose(1, 2)).float()
        if mask is not None:
            rows = torch.arange(n, n + len(scores), device=mask.device) % len(mask)
            scores = scores.masked_fill(mask[rows], -torch.inf)
        most = scores.detach().amax(-1, keepdim=True)
        weights = (scores - most).exp()
        total = weights.sum(-1, keepdim=True)
        outputs.append((weights.to(values.dtype) @ values[n : n + _ROWS]) / total.to(values.dtype))
        totals.append((most + total.log())[..., 0])
    return _Part(torch.cat(outputs), torch.cat(totals))

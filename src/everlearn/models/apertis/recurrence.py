"""The recurrence of the state-tracking cell: h_t = a_t h_(t-1) + b_t k_t v_t^T with a_t between -1 and 1, read by q_t.

A factor of -1 turns a state over and one of 1 keeps it: so a state can follow what alternates, which factors above zero
cannot. With one factor for a whole head the steps of a chunk are matrix products.

Source: Dao and Gu 2024, Transformers are SSMs (chunks); Grazzi et al. 2024, Unlocking State-Tracking in Linear RNNs
Through Negative Eigenvalues (signs).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_LEAST = 1e-6  # of |a|, whose logarithm is taken


class CellInputs(NamedTuple):
    """What the cell reads, all float32.

    Attributes:
        query: [B, T, N], shared by all heads.
        key: [B, T, N], shared by all heads.
        value: [B, T, H, P], already times b.
        factor: [B, T, H], a.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    factor: Tensor


def bounded(factor: Tensor) -> Tensor:
    """Returns the factors kept away from zero, so that they have a logarithm; both forms of the cell use them."""
    sign = torch.where(factor < 0, -1.0, 1.0)
    return sign * factor.abs().clamp(min=_LEAST)


def cell_step(inputs: CellInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """Reads one token: [B, 1, H, P], and the state [B, H, N, P] after it."""
    query, key, value, factor = (x[:, 0] for x in inputs)
    state = state * factor[..., None, None] + key[:, None, :, None] * value[:, :, None]
    return torch.einsum("bhnp,bn->bhp", state, query)[:, None], state


def naive_recurrence(inputs: CellInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """The cell token by token."""
    outputs = []
    for place in range(inputs.query.shape[1]):
        output, state = cell_step(CellInputs(*(x[:, place : place + 1] for x in inputs)), state)
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


def recurrence(inputs: CellInputs, state: Tensor, chunk: int = 64) -> tuple[Tensor, Tensor]:
    """The cell in chunks, all tokens of a chunk at once.

    Args:
        inputs: see there.
        state: [B, H, N, P] float32, after what was read before.
        chunk: tokens of a chunk.

    Returns:
        [B, T, H, P], and the state after the last token.
    """
    tokens = inputs.query.shape[1]
    missing = -tokens % chunk
    query, key = (F.pad(x, (0, 0, 0, missing)).unflatten(1, (-1, chunk)) for x in inputs[:2])  # [B, M, chunk, N]
    value = F.pad(inputs.value, (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, chunk)).transpose(2, 3)
    factor = F.pad(inputs.factor, (0, 0, 0, missing), value=1.0).unflatten(1, (-1, chunk)).transpose(2, 3)
    total = factor.abs().log().cumsum(-1)  # [B, M, H, chunk]
    sign = factor.sign().cumprod(-1)
    above = torch.ones(chunk, chunk, dtype=torch.bool, device=total.device).triu(1)
    between = (total[..., :, None] - total[..., None, :]).masked_fill(above, -torch.inf).exp()
    scores = (query @ key.transpose(-1, -2))[:, :, None] * between * sign[..., :, None] * sign[..., None, :]
    inner = scores @ value  # [B, M, H, chunk, P]
    kept = sign * total.exp()  # what is left of the first state at each place
    to_end = sign[..., -1:] * sign * (total[..., -1:] - total).exp()
    added = key.transpose(-1, -2)[:, :, None] @ (value * to_end[..., None])  # [B, M, H, N, P]
    states = []
    for n in range(added.shape[1]):
        states.append(state)
        state = state * kept[:, n, :, -1, None, None] + added[:, n]
    carried = (query[:, :, None] @ torch.stack(states, dim=1)) * kept[..., None]
    output = (inner + carried).transpose(2, 3).flatten(1, 2)
    return output[:, :tokens], state

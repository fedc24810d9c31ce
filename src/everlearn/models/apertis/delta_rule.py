"""The gated delta rule: a matrix of constant size that is corrected by each token.

S_t = a_t S_(t-1) (I - b_t k_t k_t^T) + b_t v_t k_t^T, output S_t q_t. Written here with S transposed, [K, V].

Source: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks, section 3; chunks as in its appendix.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


class DeltaInputs(NamedTuple):
    """What the rule reads, all float32.

    Attributes:
        query: [B, T, H, K], unit length times 1/sqrt(K).
        key: [B, T, H, K], unit length.
        value: [B, T, H, V].
        decay: [B, T, H], log of a: at most 0.
        beta: [B, T, H], how much of the error is corrected.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    decay: Tensor
    beta: Tensor


def delta_step(inputs: DeltaInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """Reads one token: [B, 1, H, V], and the state [B, H, K, V] after it."""
    query, key, value, decay, beta = (x[:, 0] for x in inputs)
    state = state * decay.exp()[..., None, None]
    error = (value - torch.einsum("bhkv,bhk->bhv", state, key)) * beta[..., None]
    state = state + key[..., None] * error[..., None, :]
    return torch.einsum("bhkv,bhk->bhv", state, query)[:, None], state


def naive_delta_rule(inputs: DeltaInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    """The rule token by token."""
    outputs = []
    for place in range(inputs.query.shape[1]):
        output, state = delta_step(DeltaInputs(*(x[:, place : place + 1] for x in inputs)), state)
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


def delta_rule(inputs: DeltaInputs, state: Tensor, chunk: int = 64) -> tuple[Tensor, Tensor]:
    """The rule in chunks: matrix products inside a chunk, one step from chunk to chunk.

    Args:
        inputs: see there.
        state: [B, H, K, V] float32, after what was read before.
        chunk: tokens of a chunk.

    Returns:
        [B, T, H, V], and the state after the last token.
    """
    tokens = inputs.query.shape[1]
    query, key, value, decay, beta = (_chunks(x, chunk) for x in inputs)  # [B, H, N, chunk, ...]
    total = decay.cumsum(-1)
    between = (total[..., :, None] - total[..., None, :]).masked_fill(_above(chunk, total.device), -torch.inf).exp()
    # Inside a chunk the corrections depend on each other: a triangular system tells them all, as a function of the
    # state that the chunk begins with.
    weighted = key * beta[..., None]
    system = (weighted @ key.transpose(-1, -2)) * between
    known = torch.cat((value * beta[..., None], weighted * total.exp()[..., None]), dim=-1)
    solved = torch.linalg.solve_triangular(system, known, upper=False, unitriangular=True)
    fresh, old = solved.split((value.shape[-1], key.shape[-1]), dim=-1)
    inner = (query @ key.transpose(-1, -2)) * between
    query = query * total.exp()[..., None]
    key = key * (total[..., -1:] - total).exp()[..., None]
    last = total[..., -1].exp()[..., None, None]
    outputs = []
    for n in range(query.shape[2]):
        corrections = fresh[:, :, n] - old[:, :, n] @ state
        outputs.append(query[:, :, n] @ state + inner[:, :, n] @ corrections)
        state = state * last[:, :, n] + key[:, :, n].transpose(-1, -2) @ corrections
    return torch.cat(outputs, dim=2).transpose(1, 2)[:, :tokens], state


def _chunks(x: Tensor, chunk: int) -> Tensor:
    """Cuts [B, T, H, ...] into [B, H, N, chunk, ...]; zeros fill up the last one, which change nothing."""
    missing = -x.shape[1] % chunk
    x = F.pad(x, (*(0, 0) * (x.ndim - 2), 0, missing))
    return x.transpose(1, 2).unflatten(2, (-1, chunk)).contiguous()


def _above(chunk: int, device: torch.device) -> Tensor:
    return torch.ones(chunk, chunk, dtype=torch.bool, device=device).triu(1)

"""Kind `full`: attention over everything before, with grouped keys and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.norm import RMSNorm
from everlearn.models.apertis.positions import rotate


class ApertisAttention(nn.Module):
    """Grouped-query attention; projections are named as in Llama, so that weights can be exchanged.

    Source: Ainslie et al. 2023, GQA; norms of heads and the gate as in Qwen3-Next.
    """

    def __init__(self, config: ApertisConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self.is_causal = config, layer_idx, True
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        width = config.num_attention_heads * self.head_dim
        narrow = config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, narrow, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, narrow, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.g_proj = nn.Linear(config.hidden_size, width, bias=False) if config.attention_gate else None
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401  for transformers' attention functions
    ) -> tuple[Tensor, Tensor | None]:
        """Mixes tokens.

        Args:
            hidden_states: [B, T, D].
            attention_mask: as transformers' attention functions take it, [B, 1 or H, T, S]; None: causal.
            position_embeddings: cosine and sine [B, T, C], or None where positions are told by the mask (ALiBi).
            past_key_values: keys and values of what was read before; grows.
            **kwargs: for transformers' attention functions.

        Returns:
            [B, T, D], and the weights [B, H, T, S] where the attention function tells them.
        """
        query, key, value = self.heads_of(hidden_states, position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attention_interface = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attention_interface(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.leave(output, hidden_states), weights

    def heads_of(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries [B, H, T, C], keys and values [B, G, T, C], normed and rotated."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape)
        key = self.k_proj(hidden_states).view(shape)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        if position_embeddings is not None:
            query, key = rotate(query, *position_embeddings), rotate(key, *position_embeddings)
        return query, key, value

    def leave(self, output: Tensor, hidden_states: Tensor) -> Tensor:
        """Returns [B, T, D] from what the heads gathered [B, T, H, C]."""
        joined = output.reshape(*hidden_states.shape[:-1], -1)
        if self.g_proj is not None:
            joined = joined * torch.sigmoid(self.g_proj(hidden_states))
        left: Tensor = self.o_proj(joined)
        return left


def eager_attention_forward(  # noqa: PLR0917  called by transformers
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor]:
    """Attention step by step, for whoever wants its weights.

    Args:
        module: tells how many heads share keys and values.
        query: [B, H, T, C].
        key: [B, G, S, C].
        value: [B, G, S, C].
        attention_mask: [B, 1 or H, T, S], added to the scores; or None.
        scaling: of the scores.
        dropout: share of weights that are dropped.

    Returns:
        [B, T, H, C] and the weights [B, H, T, S].
    """
    groups: int = module.num_key_value_groups  # type: ignore[assignment]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, dropout, module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def naive_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention [B, H, T, C], one query after the other; the last T of S keys belong to the queries."""
    queries, keys = query.shape[2], key.shape[2]
    groups = query.shape[1] // key.shape[1]
    rows = []
    for place in range(queries):
        seen = keys - queries + place + 1
        near, far = key[:, :, :seen].repeat_interleave(groups, 1), value[:, :, :seen].repeat_interleave(groups, 1)
        scores = (query[:, :, place, None] * near).sum(-1) * scaling
        rows.append((torch.softmax(scores, -1)[..., None] * far).sum(2))
    return torch.stack(rows, dim=2)

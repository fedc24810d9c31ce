"""Kind `latent`: keys and values of all heads come from one short vector per token, and only that is kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.full import eager_attention_forward
from everlearn.models.apertis.norm import RMSNorm
from everlearn.models.apertis.positions import rotate


class ApertisLatentAttention(nn.Module):
    """Multi-head latent attention; projections are named as in DeepSeek-V3, so that weights can be exchanged.

    Each token keeps r + d_r numbers: the latent, from which keys and values of all heads are computed, and one rotated
    key that all heads share.

    Source: DeepSeek-AI 2024, DeepSeek-V2, section 2.1.
    """

    def __init__(self, config: ApertisConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self.is_causal = config, layer_idx, True
        self.heads, self.rank = config.num_attention_heads, config.kv_lora_rank
        self.plain, self.turned, self.value_width = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
        self.num_key_value_groups, self.attention_dropout = 1, config.attention_dropout
        self.scaling = (self.plain + self.turned) ** -0.5
        wide = self.heads * (self.plain + self.turned)
        if config.q_lora_rank is None:
            self.q_proj = nn.Linear(config.hidden_size, wide, bias=False)
        else:
            self.q_a_proj = nn.Linear(config.hidden_size, config.q_lora_rank, bias=False)
            self.q_a_layernorm = RMSNorm(config.q_lora_rank, config.rms_norm_eps)
            self.q_b_proj = nn.Linear(config.q_lora_rank, wide, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(config.hidden_size, self.rank + self.turned, bias=False)
        self.kv_a_layernorm = RMSNorm(self.rank, config.rms_norm_eps)
        self.kv_b_proj = nn.Linear(self.rank, self.heads * (self.plain + self.value_width), bias=False)
        self.o_proj = nn.Linear(self.heads * self.value_width, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_values: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor | None]:
        """Mixes tokens; arguments and result as in `full`, angles for qk_rope_head_dim numbers."""
        query = self._queries(hidden_states, position_embeddings)
        kept = self._latents(hidden_states, position_embeddings)
        if past_key_values is not None:
            # As keys without values: a cache of any kind keeps, cuts and reorders them like those of other layers.
            kept, _ = past_key_values.update(kept, kept[..., :0], self.layer_idx)
        # An adapter on kv_b_proj is not in its weight; then keys and values are computed the long way.
        if query.shape[2] == 1 and type(self.kv_b_proj) is nn.Linear:
            output, weights = self.absorbed(query, kept, attention_mask), None
        else:
            output, weights = self.expanded(query, kept, attention_mask, **kwargs)
        left: Tensor = self.o_proj(output.flatten(2))
        return left, weights

    def _queries(self, hidden_states: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Returns [B, H, T, plain + turned]."""
        if self.config.q_lora_rank is None:
            query = self.q_proj(hidden_states)
        else:
            query = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden_states)))
        query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        plain, turned = query.split((self.plain, self.turned), dim=-1)
        return torch.cat((plain, rotate(turned, *angles)), dim=-1)

    def _latents(self, hidden_states: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """Returns what is kept [B, 1, T, r + turned]."""
        latent, turned = self.kv_a_proj_with_mqa(hidden_states).split((self.rank, self.turned), dim=-1)
        return torch.cat((self.kv_a_layernorm(latent)[:, None], rotate(turned[:, None], *angles)), dim=-1)

    def expanded(
        self,
        query: Tensor,
        kept: Tensor,
        attention_mask: Tensor | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[Tensor, Tensor | None]:
        """Computes keys and values of all heads, then attention: best for many queries. Returns [B, T, H, V]."""
        latent, turned = kept.split((self.rank, self.turned), dim=-1)
        both = self.kv_b_proj(latent[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = both.split((self.plain, self.value_width), dim=-1)
        key = torch.cat((key, turned.expand(-1, self.heads, -1, -1)), dim=-1)
        missing = max(key.shape[-1] - self.value_width, 0)  # torch's fast kernels want keys and values equally wide
        attention_interface = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attention_interface(
            self,
            query,
            key,
            F.pad(value, (0, missing)),
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return output[..., : self.value_width], weights

    def absorbed(self, query: Tensor, kept: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Moves the queries into the latent space instead: best for one query. Returns [B, T, H, V].

        Source: DeepSeek-AI 2024, DeepSeek-V2, appendix C.
        """
        weight = self.kv_b_proj.weight.unflatten(0, (self.heads, -1))
        to_key, to_value = weight.split((self.plain, self.value_width), dim=1)
        plain, turned = query.split((self.plain, self.turned), dim=-1)
        scores = torch.cat((plain @ to_key, turned), dim=-1) @ kept.transpose(2, 3) * self.scaling
        if attention_mask is not None:
            if attention_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
            else:
                scores = scores + attention_mask
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        gathered = weights @ kept[..., : self.rank]
        return (gathered @ to_value.transpose(1, 2)).transpose(1, 2)

"""One layer of the decoder: a mixer over time, then an MLP, each behind a norm and added to the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.dense import ApertisMLP
from everlearn.models.apertis.full import ApertisAttention
from everlearn.models.apertis.norm import RMSNorm


@dataclass(frozen=True)
class Surroundings:
    """What all layers of one forward pass share.

    Attributes:
        mask: for transformers' attention functions, [B, 1 or H, T, S], or None for a plain causal one.
        padding: [B, S] bool, False for padding on the left; None where there is none. S: tokens read before and now.
        rotations: cosine and sine [B, T, width] for each kind that rotates.
    """

    mask: Tensor | None
    padding: Tensor | None
    rotations: dict[str, tuple[Tensor, Tensor] | None]


class ApertisDecoderLayer(GradientCheckpointingLayer):
    """Pre-norm layer of the kinds that the configuration names."""

    def __init__(self, config: ApertisConfig, layer_idx: int, kind: str, mlp_kind: str) -> None:
        super().__init__()
        self.kind, self.mlp_kind = kind, mlp_kind
        self.self_attn = ApertisAttention(config, layer_idx)
        self.mlp = ApertisMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden_states: Tensor,
        surroundings: Surroundings,
        past_key_values: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        """Returns [B, T, D]."""
        mixed, _ = self.self_attn(
            self.input_layernorm(hidden_states),
            attention_mask=surroundings.mask,
            position_embeddings=surroundings.rotations["full"],
            past_key_values=past_key_values,
            **kwargs,
        )
        hidden_states = hidden_states + mixed
        added: Tensor = self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states + added

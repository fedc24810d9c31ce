"""One layer of the decoder: a mixer over time, then an MLP, each behind a norm and added to the residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from everlearn.models.apertis.block_sparse import ApertisBlockSparseAttention
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.dense import ApertisMLP
from everlearn.models.apertis.experts import ApertisMoE
from everlearn.models.apertis.full import ApertisAttention
from everlearn.models.apertis.latent import ApertisLatentAttention
from everlearn.models.apertis.linear import ApertisDeltaNet
from everlearn.models.apertis.norm import RMSNorm
from everlearn.models.apertis.recurrent import ApertisRecurrentCell
from everlearn.models.apertis.states import state_layer

_ATTENTION = {
    "full": ApertisAttention,
    "block_sparse": ApertisBlockSparseAttention,
    "latent": ApertisLatentAttention,
}


@dataclass(frozen=True)
class Surroundings:
    """What all layers of one forward pass share.

    Attributes:
        mask: for transformers' attention functions, [B, 1 or H, T, S], or None for a plain causal one.
        padding: [B, S] bool, False for padding on the left; None where there is none. S: tokens read before and now.
        starts: [B, T] bool, True where another text begins in a row; None where a row is one text.
        rotation: cosine and sine [B, T, C] for whole heads; None where positions are told by the mask.
        latent_rotation: the same for the rotated part of latent heads.
    """

    mask: Tensor | None
    padding: Tensor | None
    starts: Tensor | None
    rotation: tuple[Tensor, Tensor] | None
    latent_rotation: tuple[Tensor, Tensor] | None


class ApertisDecoderLayer(GradientCheckpointingLayer):
    """Pre-norm layer of the kinds that the configuration names.

    The mixer is called `self_attn`, `linear_attn` or `recurrent`: names that other families' weights have.
    """

    def __init__(self, config: ApertisConfig, layer_idx: int, kind: str, mlp_kind: str) -> None:
        super().__init__()
        self.kind, self.layer_idx = kind, layer_idx
        if kind == "linear":
            self.linear_attn = ApertisDeltaNet(config)
        elif kind == "recurrent":
            self.recurrent = ApertisRecurrentCell(config)
        else:
            self.self_attn = _ATTENTION[kind](config, layer_idx)
        self.mlp = ApertisMoE(config) if mlp_kind == "experts" else ApertisMLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        hidden_states: Tensor,
        surroundings: Surroundings,
        past_key_values: Cache | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Tensor:
        """Returns [B, T, D]; kwargs go to transformers' attention functions."""
        mixed = self.mix(self.input_layernorm(hidden_states), surroundings, past_key_values, **kwargs)
        hidden_states = hidden_states + mixed
        added: Tensor = self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states + added

    def mix(self, x: Tensor, around: Surroundings, cache: Cache | None = None, **kwargs: Any) -> Tensor:  # noqa: ANN401
        """Mixes normed tokens [B, T, D] over time: the layer without its norms and its MLP."""
        mixed: Tensor
        if self.kind in ("linear", "recurrent"):
            mixer = self.linear_attn if self.kind == "linear" else self.recurrent
            mixed = mixer(x, padding=around.padding, starts=around.starts, cache=state_layer(cache, self.layer_idx))
            return mixed
        mixed, _ = self.self_attn(
            x,
            attention_mask=around.mask,
            position_embeddings=around.latent_rotation if self.kind == "latent" else around.rotation,
            past_key_values=cache,
            **({"padding": around.padding, "starts": around.starts} if self.kind == "block_sparse" else kwargs),
        )
        return mixed

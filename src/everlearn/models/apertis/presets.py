"""Sizes and variants of the family, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from everlearn.errors import SettingsError
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.modeling import ApertisForCausalLM

SIZES: Mapping[str, Mapping[str, Any]] = {
    "1m": {
        "vocab_size": 4_096,
        "hidden_size": 128,
        "intermediate_size": 344,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1_024,
    },
    "15m": {
        "vocab_size": 16_384,
        "hidden_size": 320,
        "intermediate_size": 864,
        "num_hidden_layers": 8,
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "max_position_embeddings": 1_024,
    },
    "small": {
        "vocab_size": 49_152,
        "hidden_size": 960,
        "intermediate_size": 2_560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "max_position_embeddings": 8_192,
    },
    "base": {
        "vocab_size": 50_304,
        "hidden_size": 2_048,
        "intermediate_size": 5_504,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": False,
    },
    "large": {
        "vocab_size": 32_000,
        "hidden_size": 4_096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": False,
    },
}
VARIANTS = ("dense", "hybrid", "full-feature")


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """How many numbers a preset has.

    Attributes:
        total: all of them; tied ones count once.
        active: those that compute one token: of the experts only the chosen ones.
        embeddings: of these, in the embedding and the output layer.
        cache_per_token: numbers kept of each token, all layers together.
        state: numbers kept whatever the length, all layers together.
    """

    total: int
    active: int
    embeddings: int
    cache_per_token: int
    state: int


def preset(size: str, variant: str = "dense", **changes: Any) -> ApertisConfig:  # noqa: ANN401  fields of the configuration
    """Returns the configuration of a size in a variant.

    - dense: full attention and a SwiGLU MLP in each layer; loads as Llama.
    - hybrid: three layers of the gated delta rule to one of full attention, the last one full; loads as Qwen3-Next.
    - full-feature: state-tracking cells, block-sparse and latent attention, experts from the second layer on (8 of 32,
      each an eighth as wide as the dense MLP), one head that looks ahead.

    Args:
        size: one of `SIZES`.
        variant: one of `VARIANTS`.
        **changes: fields that replace those of the preset, such as vocab_size.

    Raises:
        SettingsError: no such size or variant.
    """
    if size not in SIZES:
        raise SettingsError(f"There is no size {size!r}.", hint=f"The sizes are {', '.join(SIZES)}.")
    if variant not in VARIANTS:
        raise SettingsError(f"There is no variant {variant!r}.", hint=f"The variants are {', '.join(VARIANTS)}.")
    fields = dict(SIZES[size])
    fields |= _variant(variant, fields["num_hidden_layers"], fields["intermediate_size"])
    return ApertisConfig(**fields | changes)


def count_parameters(config: ApertisConfig) -> ParameterCount:
    """Counts the numbers of a model without making them."""
    with torch.device("meta"):
        model = ApertisForCausalLM(config)
    total = sum(p.numel() for p in model.parameters())
    share = 1 - config.num_experts_per_tok / config.num_experts
    experts = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
    ahead = sum(p.numel() for p in model.ahead.parameters())
    embeddings = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    kept = {"latent": config.kv_lora_rank + config.qk_rope_head_dim, "linear": 0, "recurrent": 0}
    pair = 2 * config.num_key_value_heads * config.head_dim
    return ParameterCount(
        total=total,
        active=total - round(experts * share) - ahead,
        embeddings=embeddings,
        cache_per_token=sum(kept.get(kind, pair) for kind in config.layer_types),
        state=sum(_state(config, kind) for kind in config.layer_types),
    )


def _state(config: ApertisConfig, kind: str) -> int:
    taps = config.linear_conv_kernel_dim - 1
    if kind == "linear":
        keys = 2 * config.linear_num_key_heads * config.linear_key_head_dim
        values = config.linear_num_value_heads * config.linear_value_head_dim
        return values * config.linear_key_head_dim + taps * (keys + values)
    if kind == "recurrent":
        values = config.recurrent_num_heads * config.recurrent_head_dim
        return values * config.recurrent_state_dim + taps * (values + 2 * config.recurrent_state_dim)
    return 0


def _variant(variant: str, layers: int, width: int) -> dict[str, Any]:
    if variant == "dense":
        return {}
    if variant == "hybrid":
        kinds = ["full" if (n + 1) % 4 == 0 else "linear" for n in range(layers)]
        return {"layer_types": kinds, "qk_norm": True, "attention_gate": True}
    pattern = ("recurrent", "block_sparse", "recurrent", "latent")
    return {
        "layer_types": [pattern[n % 4] for n in range(layers)],
        "mlp_layer_types": ["dense", *["experts"] * (layers - 1)],
        "moe_intermediate_size": max(width // 64 * 8, 8),
        "qk_norm": True,
        "mtp_depth": 1,
    }

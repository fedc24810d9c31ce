"""Tiny models of the family, one for each kind, made in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from everlearn.models.apertis import ApertisConfig, ApertisForCausalLM

VOCABULARY = 61
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,  # large, so that a lost state or a wrong mask shows in the logits
    "block_size": 4,
    "selected_blocks": 1,
    "local_blocks": 2,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "alibi": {"position": "alibi"},
    "grouped": {"position_group": 4},
    "block_sparse": {"layer_types": ["block_sparse"] * 3},
    "linear": {"layer_types": ["linear"] * 3},
    "grouped_linear": {"layer_types": ["linear"] * 3, "linear_num_key_heads": 2, "linear_value_head_dim": 12},
    "latent": {"layer_types": ["latent"] * 3},
    "latent_queries": {"layer_types": ["latent"] * 3, "q_lora_rank": 16},
    "recurrent": {"layer_types": ["recurrent"] * 3},
    "experts": {"mlp_layer_types": ["dense", "experts", "experts"], "num_experts": 8, "num_experts_per_tok": 2},
    "hybrid": {"layer_types": ["linear", "recurrent", "full"]},
    "ahead": {"mtp_depth": 1},
    "everything": {
        "layer_types": ["recurrent", "block_sparse", "latent"],
        "mlp_layer_types": ["dense", "experts", "experts"],
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "mtp_depth": 2,
        "qk_norm": True,
        "attention_gate": True,
    },
    "gated": {"qk_norm": True, "attention_gate": True},
}


def config_of(variant: str, **more: Any) -> ApertisConfig:
    return ApertisConfig(**SMALL | VARIANTS[variant] | more)


def module_of(variant: str, seed: int = 0, **more: Any) -> ApertisForCausalLM:
    torch.manual_seed(seed)
    return ApertisForCausalLM(config_of(variant, **more)).eval()


def some_ids(rows: int, tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=VARIANTS)
def variant(request) -> str:
    return request.param


@pytest.fixture
def module(variant) -> ApertisForCausalLM:
    return module_of(variant)

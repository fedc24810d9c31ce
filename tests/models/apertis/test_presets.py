"""Sizes and variants: counted rightly, buildable, and what each variant promises."""

from __future__ import annotations

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.models.apertis import ApertisForCausalLM
from everlearn.models.apertis.export import export
from everlearn.models.apertis.presets import SIZES, VARIANTS, count_parameters, preset


@pytest.mark.parametrize(
    ("size", "wanted"), [("15m", 15.2e6), ("small", 361.8e6), ("base", 1_269e6), ("large", 6_738e6)]
)
def test_sizes_are_what_they_are_called(size, wanted):
    assert count_parameters(preset(size)).total == pytest.approx(wanted, rel=0.005)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_count_is_that_of_the_model(variant):
    config = preset("1m", variant)
    model = ApertisForCausalLM(config).eval()
    count = count_parameters(config)
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.active <= count.total
    cache = model(torch.zeros(1, 10, dtype=torch.long), use_cache=True).past_key_values
    states = sum(state.numel() for layer in cache.layers for state in getattr(layer, "states", ()))
    keys = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers if layer.keys is not None)
    assert states == count.state
    assert keys == 10 * count.cache_per_token


def test_dense_and_hybrid_can_be_exported():
    assert export(ApertisForCausalLM(preset("1m")), "llama").config.model_type == "llama"
    assert export(ApertisForCausalLM(preset("1m", "hybrid")), "qwen3_next").config.model_type == "qwen3_next"


@pytest.mark.parametrize("size", SIZES)
def test_the_full_feature_variant_has_every_feature(size):
    config = preset(size, "full-feature")
    assert set(config.layer_types) == {"recurrent", "block_sparse", "latent"}
    assert config.mlp_layer_types.count("experts") == config.num_hidden_layers - 1
    assert (config.num_experts, config.num_experts_per_tok, config.mtp_depth) == (32, 8, 1)
    # A token's experts with the shared one are about as wide as the dense MLP.
    assert 0.9 <= 9 * config.moe_intermediate_size / config.intermediate_size <= 1.2


def test_fields_of_a_preset_can_be_replaced():
    assert preset("1m", vocab_size=300).vocab_size == 300
    with pytest.raises(SettingsError, match="'2m'"):
        preset("2m")
    with pytest.raises(SettingsError, match="'moe'"):
        preset("1m", "moe")

"""The small parts against how they are written on paper, and what the configuration refuses."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from everlearn.errors import SettingsError
from everlearn.models.apertis import ApertisConfig
from everlearn.models.apertis.full import naive_attention
from everlearn.models.apertis.norm import RMSNorm, naive_rms_norm
from everlearn.models.apertis.positions import RotaryEmbedding, alibi_mask, alibi_slopes, naive_rotate, rotate

from .conftest import SMALL, config_of, module_of, some_ids


def test_the_norm_is_the_one_on_paper():
    norm = RMSNorm(8, 1e-6)
    norm.weight.data.uniform_(0.5, 2)
    x = torch.randn(3, 8)
    torch.testing.assert_close(norm(x), naive_rms_norm(x, norm.weight, 1e-6))


def test_rotation_is_that_of_complex_numbers():
    config = config_of("full")
    x = torch.randn(1, 2, 9, 8)
    places = torch.arange(9)[None]
    turned = rotate(x, *RotaryEmbedding(config, 8)(x, places))
    for head in range(2):
        torch.testing.assert_close(turned[0, head], naive_rotate(x[0, head], torch.arange(9), 10_000.0))


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    ],
)
def test_interpolations_are_those_of_llama(rope):
    rope = rope | {"rope_theta": 10_000.0}
    ours = RotaryEmbedding(config_of("full", rope_parameters=dict(rope)), 8)
    theirs = LlamaRotaryEmbedding(LlamaConfig(**{k: SMALL[k] for k in list(SMALL)[:7]}, rope_parameters=dict(rope)))
    x, places = torch.zeros(1), torch.arange(200)[None]
    for mine, other in zip(ours(x, places), theirs(x, places), strict=True):
        torch.testing.assert_close(mine, other)


def test_grouped_positions_stand_still_for_a_group():
    places = torch.arange(12)[None]
    plain, grouped = (RotaryEmbedding(config_of("full", position_group=g), 8) for g in (1, 4))
    wanted = plain(torch.zeros(1), torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]]))
    assert torch.equal(grouped(torch.zeros(1), places)[0], wanted[0])


@torch.no_grad()
def test_attention_equals_query_after_query():
    module = module_of("full")
    attention = module.model.layers[0].self_attn
    hidden = torch.randn(2, 7, 32)
    around = module.model.rotary_emb(hidden, torch.arange(7)[None])
    query, key, value = attention.heads_of(hidden, around)
    slow = naive_attention(query, key, value, attention.scaling).transpose(1, 2)
    torch.testing.assert_close(attention(hidden, None, around)[0], attention.leave(slow, hidden))


def test_alibi_takes_away_by_distance():
    assert alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    assert len(set(alibi_slopes(12).tolist())) == 12
    visible = torch.tril(torch.ones(2, 4), diagonal=2).bool()[None, None]
    bias = alibi_mask(4, visible, torch.float32)
    assert bias[0, 0, 0, :3].tolist() == [-0.5, -0.25, -0.0]
    assert bias[0, 0, 0, 3] == torch.finfo(torch.float32).min


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"layer_types": ["full"]}, "names 1 layers"),
        ({"layer_types": ["full", "full", "fuzzy"]}, "fuzzy"),
        ({"mlp_layer_types": ["dense", "dense", "none"]}, "none"),
        ({"num_key_value_heads": 3}, "multiple of 3"),
        ({"position": "none"}, "none"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "5 of 4"),
        ({"position_group": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(wrong, word):
    with pytest.raises(SettingsError, match=word):
        ApertisConfig(**SMALL | wrong)


def test_labels_are_shifted_by_the_loss():
    module = module_of("full")
    ids = some_ids(2, 9)
    with torch.no_grad():
        output = module(ids, labels=ids)
    wanted = torch.nn.functional.cross_entropy(output.logits[:, :-1].reshape(-1, 61), ids[:, 1:].reshape(-1))
    torch.testing.assert_close(output.loss, wanted)

"""The fast form of each kind against its slow one, which is the truth."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from everlearn.errors import ConversationError
from everlearn.models.apertis.block_attention import block_attention, token_attention
from everlearn.models.apertis.block_selection import BlockPlan, naive_block_attention
from everlearn.models.apertis.convolution import causal_convolution, naive_convolution
from everlearn.models.apertis.delta_rule import DeltaInputs, delta_rule, naive_delta_rule
from everlearn.models.apertis.full import naive_attention
from everlearn.models.apertis.linear import unit
from everlearn.models.apertis.recurrence import CellInputs, bounded, naive_recurrence, recurrence
from everlearn.models.apertis.states import StateLayer

from .conftest import module_of, some_ids

LOOSE = {"atol": 2e-5, "rtol": 1e-4}


def test_the_convolution_is_torchs():
    x, weight = torch.randn(2, 9, 6), torch.randn(6, 1, 4)
    whole, end = causal_convolution(x, weight, None)
    torch.testing.assert_close(whole, naive_convolution(x, weight))
    first, state = causal_convolution(x[:, :2], weight, None)
    second, later = causal_convolution(x[:, 2:], weight, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    assert torch.equal(later, end)


def _delta_inputs(tokens: int, seed: int = 0) -> DeltaInputs:
    made = torch.Generator().manual_seed(seed)
    key, query = (unit(torch.randn(2, tokens, 3, 8, generator=made)) for _ in range(2))
    value = torch.randn(2, tokens, 3, 5, generator=made)
    decay = -torch.rand(2, tokens, 3, generator=made) * 3
    beta = torch.rand(2, tokens, 3, generator=made)
    return DeltaInputs(query, key, value, decay, beta)


@settings(max_examples=15, deadline=None)
@given(tokens=st.integers(1, 70), chunk=st.sampled_from([4, 16, 64]))
def test_the_delta_rule_in_chunks_is_that_of_single_tokens(tokens, chunk):
    inputs, state = _delta_inputs(tokens), torch.randn(2, 3, 8, 5)
    for fast, slow in zip(delta_rule(inputs, state, chunk), naive_delta_rule(inputs, state), strict=True):
        torch.testing.assert_close(fast, slow, **LOOSE)


def test_the_delta_rule_has_the_same_gradients_in_chunks():
    grads = []
    for form in (naive_delta_rule, lambda i, s: delta_rule(i, s, 8)):
        inputs = DeltaInputs(*(x.clone().requires_grad_() for x in _delta_inputs(21)))
        output, state = form(inputs, torch.zeros(2, 3, 8, 5))
        (output.square().sum() + state.sum()).backward()
        grads.append([x.grad for x in inputs])
    for slow, fast in zip(*grads, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-3)


def test_the_delta_rule_replaces_what_a_key_stood_for():
    key = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]]])
    value = torch.tensor([[[[3.0]], [[5.0]], [[7.0]]]])
    ones = torch.ones(1, 3, 1)
    _, state = delta_rule(DeltaInputs(key, key, value, ones * 0, ones), torch.zeros(1, 1, 2, 1))
    assert state.flatten().tolist() == [7.0, 5.0]


def _cell_inputs(tokens: int, seed: int = 0) -> CellInputs:
    made = torch.Generator().manual_seed(seed)
    query, key = (torch.randn(2, tokens, 6, generator=made) for _ in range(2))
    value = torch.randn(2, tokens, 3, 5, generator=made)
    return CellInputs(query, key, value, bounded(torch.tanh(torch.randn(2, tokens, 3, generator=made) * 2)))


@settings(max_examples=15, deadline=None)
@given(tokens=st.integers(1, 70), chunk=st.sampled_from([4, 16, 64]))
def test_the_cell_in_chunks_is_that_of_single_tokens(tokens, chunk):
    inputs, state = _cell_inputs(tokens), torch.randn(2, 3, 6, 5)
    for fast, slow in zip(recurrence(inputs, state, chunk), naive_recurrence(inputs, state), strict=True):
        torch.testing.assert_close(fast, slow, **LOOSE)


def test_the_cell_has_the_same_gradients_in_chunks():
    grads = []
    for form in (naive_recurrence, lambda i, s: recurrence(i, s, 8)):
        inputs = CellInputs(*(x.clone().requires_grad_() for x in _cell_inputs(21)))
        output, state = form(inputs, torch.zeros(2, 3, 6, 5))
        (output.square().sum() + state.sum()).backward()
        grads.append([x.grad for x in inputs])
    for slow, fast in zip(*grads, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-3, rtol=1e-3)


def test_the_cell_tracks_what_alternates():
    """A factor of -1 for each 1 and of 1 for each 0: the sign of the state is the parity, however long the text."""
    bits = torch.randint(0, 2, (1, 5_000), generator=torch.Generator().manual_seed(3))
    value = torch.zeros(1, 5_000, 1, 1)
    value[0, 0] = 1.0
    ones = torch.ones(1, 5_000, 1)
    factor = torch.where(bits == 1, -1.0, 1.0)[..., None]
    output, _ = recurrence(CellInputs(ones, ones, value, factor), torch.zeros(1, 1, 1, 1))
    parity = bits[0, 1:].cumsum(0) % 2
    assert torch.equal(output.flatten()[1:], 1.0 - 2.0 * parity)


def _heads(tokens: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 4, tokens, 8, generator=made)
    key, value = (torch.randn(2, 2, length, 8, generator=made) for _ in range(2))
    return query, key, value


@settings(max_examples=20, deadline=None)
@given(
    length=st.integers(1, 90),
    share=st.floats(0, 1),
    size=st.sampled_from([2, 4, 8]),
    selected=st.integers(0, 4),
    local=st.integers(1, 3),
)
def test_selected_blocks_are_those_of_the_masked_form(length, share, size, selected, local):
    tokens = max(int(length * share), 1)
    query, key, value = _heads(tokens, length)
    plan = BlockPlan(size, selected, local)
    fast = block_attention(query, key, value, plan, 0.3)
    slow = naive_block_attention(query, key, value, plan, 0.3)
    torch.testing.assert_close(fast, slow, **LOOSE)
    torch.testing.assert_close(token_attention(query[:, :, -1:], key, value, plan, 0.3), slow[:, :, -1:], **LOOSE)


def test_with_all_blocks_selected_it_is_full_attention():
    query, key, value = _heads(64, 64)
    everything = block_attention(query, key, value, BlockPlan(4, 16, 1), 0.3)
    torch.testing.assert_close(everything, naive_attention(query, key, value, 0.3), **LOOSE)
    some = block_attention(query, key, value, BlockPlan(4, 2, 1), 0.3)
    assert not torch.allclose(some, everything, atol=1e-2)


def test_longer_texts_than_a_segment_are_read_the_same(monkeypatch):
    query, key, value = _heads(61, 75)
    whole = block_attention(query, key, value, BlockPlan(4, 2, 2), 0.3)
    monkeypatch.setattr("everlearn.models.apertis.block_attention._SEGMENT", 8)
    torch.testing.assert_close(block_attention(query, key, value, BlockPlan(4, 2, 2), 0.3), whole, **LOOSE)


def test_block_attention_has_the_gradients_of_the_masked_form():
    grads = []
    for form in (naive_block_attention, block_attention):
        parts = [x.requires_grad_() for x in _heads(40, 40)]
        form(*parts, BlockPlan(4, 2, 1), 0.3).square().sum().backward()
        grads.append([x.grad for x in parts])
    for slow, fast in zip(*grads, strict=True):
        torch.testing.assert_close(fast, slow, **LOOSE)


@torch.no_grad()
def test_block_sparse_finds_a_needle_far_away():
    """A key that a query asks for lies in a block that is neither first nor local: its value comes back."""
    key, value = torch.zeros(1, 1, 400, 8), torch.zeros(1, 1, 400, 8)
    key[0, 0, 150, 0], value[0, 0, 150, 3] = 40.0, 1.0
    query = torch.zeros(1, 1, 1, 8)
    query[..., 0] = 5.0
    found = block_attention(query, key, value, BlockPlan(8, 1, 1), 1.0)
    assert found[0, 0, 0, 3] > 0.99


@torch.no_grad()
def test_the_absorbed_form_of_latent_attention_is_the_expanded_one():
    attention = module_of("latent").model.layers[0].self_attn
    query, kept = torch.randn(2, 4, 1, 12), torch.randn(2, 1, 17, attention.rank + attention.turned)
    slow, _ = attention.expanded(query, kept, None)
    torch.testing.assert_close(attention.absorbed(query, kept, None), slow, **LOOSE)


@torch.no_grad()
def test_a_latent_cache_keeps_about_a_third_of_keys_and_values():
    full, latent = module_of("full", num_key_value_heads=4).config, module_of("latent").config
    both = 2 * full.num_key_value_heads * full.head_dim
    assert (latent.kv_lora_rank + latent.qk_rope_head_dim) / both == pytest.approx(0.375)
    cache = module_of("latent")(some_ids(1, 10), use_cache=True).past_key_values
    assert cache.layers[0].keys.shape == (1, 1, 10, latent.kv_lora_rank + latent.qk_rope_head_dim)
    assert cache.layers[0].values.numel() == 0


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "recurrent"])
def test_a_state_is_constant_and_can_be_saved_and_restored(kind):
    module = module_of(kind)
    ids, others = some_ids(1, 50), some_ids(1, 20, seed=9)
    cache = module(ids[:, :30], use_cache=True).past_key_values
    layers: list[StateLayer] = cache.layers
    small = [layer.nbytes for layer in layers]
    saved = [layer.saved() for layer in layers]
    wanted = module(ids[:, 30:], past_key_values=cache).logits
    assert [layer.nbytes for layer in layers] == small
    for layer, state in zip(layers, saved, strict=True):
        layer.restore(state)
    module(others, past_key_values=cache)
    for layer, state in zip(layers, saved, strict=True):
        layer.restore(state)
    assert cache.get_seq_length() == 30
    assert torch.equal(module(ids[:, 30:], past_key_values=cache).logits, wanted)
    with pytest.raises(ConversationError, match="20 tokens cannot be taken out"):
        layers[0].crop(-20)


@torch.no_grad()
def test_rows_of_a_state_can_be_chosen_and_repeated():
    module = module_of("hybrid")
    ids = some_ids(3, 12)
    cache = module(ids[:, :9], use_cache=True).past_key_values
    cache.batch_select_indices(torch.tensor([2, 0]))
    cache.batch_repeat_interleave(2)
    rows = ids[[2, 2, 0, 0]]
    got = module(rows[:, 9:], past_key_values=cache).logits
    torch.testing.assert_close(got, module(rows).logits[:, 9:], atol=1e-4, rtol=1e-4)
    cache.reset()
    assert cache.get_seq_length() == 0

"""Sinks and rolling window: what the cache gives is what a slow and obvious reading gives."""

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from everlearn.engine.decode import forward, prefill
from everlearn.engine.held import started
from everlearn.errors import SettingsError
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.models.turnings import find_turnings
from toys import VOCABULARY, tiny_module

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "eos_token_id": 0,
    "bos_token_id": 0,
    "pad_token_id": 0,
}
OTHERS = {
    "partly turned": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, intermediate_size=64, rotary_pct=0.5)),
    "interleaved": lambda: CohereForCausalLM(CohereConfig(**SIZES, intermediate_size=64)),
    "no positions": lambda: BloomForCausalLM(
        BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, eos_token_id=0)
    ),
}


def model_of(module):
    return BaseModel(module, name="tiny", digest="0" * 64)


def some_ids(count, seed=0):
    return torch.randint(0, VOCABULARY, (1, count), generator=torch.Generator().manual_seed(seed))


class NaiveStream:
    """A Llama, token by token: keys are kept as they were before their turn and turned anew each time to their place.

    Which tokens are kept is decided as in the definition: when the window is full, a block behind the sinks goes.
    """

    def __init__(self, module, window):
        self.model, self.window = module.model, window
        self.head = module.lm_head
        self.keys = [[] for _ in self.model.layers]
        self.values = [[] for _ in self.model.layers]

    def read(self, token):
        for held in (*self.keys, *self.values):
            if len(held) == self.window.capacity:
                del held[self.window.sinks : self.window.sinks + self.window.block]
        hidden = self.model.embed_tokens(torch.tensor([[token]]))
        for block, keys, values in zip(self.model.layers, self.keys, self.values, strict=True):
            hidden = hidden + self.attention(block, block.input_layernorm(hidden), keys, values)
            hidden = hidden + block.mlp(block.post_attention_layernorm(hidden))
        return self.head(self.model.norm(hidden))[0, 0]

    def attention(self, block, hidden, keys, values):
        attention, config = block.self_attn, self.model.config
        width, groups = config.head_dim, config.num_key_value_heads
        query = attention.q_proj(hidden).view(1, 1, -1, width).transpose(1, 2)
        keys.append(attention.k_proj(hidden).view(1, 1, groups, width).transpose(1, 2))
        values.append(attention.v_proj(hidden).view(1, 1, groups, width).transpose(1, 2))
        cos, sin = self.model.rotary_emb(hidden, torch.arange(len(keys))[None])
        _, turned = apply_rotary_pos_emb(query, torch.cat(keys, 2), cos, sin)
        query, _ = apply_rotary_pos_emb(query, query, cos[:, -1:], sin[:, -1:])
        share = query.shape[1] // groups
        scores = query @ turned.repeat_interleave(share, 1).transpose(2, 3) * width**-0.5
        mixed = scores.softmax(-1) @ torch.cat(values, 2).repeat_interleave(share, 1)
        return attention.o_proj(mixed.transpose(1, 2).reshape(1, 1, -1))


@torch.no_grad()
@pytest.mark.parametrize("piece", [1, 7, 200])
def test_the_cache_gives_what_the_naive_stream_gives(piece):
    module = tiny_module(blocks=3)
    model = model_of(module)
    window = model.window(40)
    naive, cache, ids = NaiveStream(module, window), model.new_cache(window), some_ids(200)
    wanted = [naive.read(int(token)) for token in ids[0]]
    for begin in range(0, ids.shape[1], piece):
        got = forward(model, ids[:, begin : begin + piece], cache, [None])[0]
        last = min(begin + piece, ids.shape[1]) - 1
        assert torch.allclose(got, wanted[last], atol=2e-4), f"after {last + 1} tokens"
    assert cache.read == 200
    assert cache.lengths[0] == len(naive.keys[0])


@torch.no_grad()
def test_with_one_block_it_equals_reading_the_kept_tokens_from_scratch():
    """Keys of the lowest block follow from their token alone, so nothing of what is gone can be left in them."""
    model = model_of(tiny_module(blocks=1))
    window = model.window(48)
    cache, ids = model.new_cache(window), some_ids(300)
    got = forward(model, ids, cache, [None])
    kept = torch.cat([ids[:, : window.sinks], ids[:, window.sinks + cache.dropped[0] :]], 1)
    assert kept.shape[1] == cache.width <= 48
    assert torch.allclose(got, model.forward(kept, model.new_cache()), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_moved_keys_are_those_read_where_they_stand_now(family):
    """Of any family: what stands alone behind the sinks has the keys that it had if it had been read there."""
    module = tiny_module(family, blocks=1)
    model = model_of(module)
    window = model.window(40)
    cache, ids = model.new_cache(window), some_ids(90)
    forward(model, ids, cache, [None])
    anew = model.new_cache()
    model.forward(torch.cat([ids[:, : window.sinks], ids[:, window.sinks + cache.dropped[0] :]], 1), anew)
    for got, wanted in zip(cache._pair(0), anew._pair(0), strict=True):
        assert torch.allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_turn_of_a_model_is_found_by_trying(kind):
    torch.manual_seed(0)
    turnings = find_turnings(OTHERS[kind]().eval())
    if kind == "no positions":
        assert turnings == (None, None)
    else:
        assert all(turning is not None for turning in turnings)
        assert {turning.interleaved for turning in turnings} == {kind == "interleaved"}
        assert {len(turning.frequencies) for turning in turnings} == {2 if kind == "partly turned" else 4}


def test_blocks_of_one_model_may_turn_differently():
    first, second = find_turnings(tiny_module("gemma3", blocks=6).eval())[4:]
    assert not torch.equal(first.frequencies, second.frequencies)


def test_learned_positions_are_refused():
    with pytest.raises(SettingsError, match="cannot roll") as caught:
        model_of(tiny_module("gpt2")).window(64)
    assert "rotary" in caught.value.hint


@pytest.mark.parametrize(("tokens", "sinks"), [(8, 4), (5000, 4), (64, 40), (64, -1)])
def test_impossible_windows_are_refused(tokens, sinks):
    with pytest.raises(SettingsError):
        model_of(tiny_module()).window(tokens, sinks)


@torch.no_grad()
def test_bytes_stay_what_they_are_when_the_window_is_full():
    model = model_of(tiny_module())
    cache = model.new_cache(model.window(64))
    most = []
    for seed in range(6):
        for begin in range(0, 500, 20):
            forward(model, some_ids(500, seed)[:, begin : begin + 20], cache, [None])
            most.append(cache.nbytes)
    assert cache.read == 3000
    assert max(most[:25]) == max(most[-25:]) == cache.nbytes // cache.width * 64


@torch.no_grad()
def test_until_it_rolls_a_window_changes_no_bit():
    model = model_of(tiny_module())
    ids, plain, rolling = some_ids(64), model.new_cache(), model.new_cache(model.window(64))
    assert torch.equal(forward(model, ids, plain, [None]), forward(model, ids, rolling, [None]))
    assert rolling.dropped == [0]


@torch.no_grad()
def test_rows_of_a_batch_roll_each_by_itself():
    model = model_of(tiny_module())
    lengths, windows = (30, 47, 90, 20), (model.window(48), model.window(48), model.window(40), None)
    alone = [model.new_cache(window) for window in windows]
    for n, (length, cache) in enumerate(zip(lengths, alone, strict=True)):
        prefill(model, some_ids(length, n)[0].tolist(), cache, None)
    together = KeyValueCache.merge([cache.copy() for cache in alone])
    for step in range(40):
        ids = some_ids(4, 100 + step).T
        wanted = torch.cat([forward(model, ids[n : n + 1], cache, [None]) for n, cache in enumerate(alone)])
        assert torch.allclose(forward(model, ids, together, [None] * 4), wanted, atol=1e-4)
    assert together.dropped == [cache.dropped[0] for cache in alone]
    assert together.lengths == [cache.lengths[0] for cache in alone]
    together.select([2, 0])
    assert together.dropped == [alone[2].dropped[0], alone[0].dropped[0]]


@torch.no_grad()
def test_of_a_long_prompt_only_the_sinks_and_the_last_window_are_read():
    model = model_of(tiny_module(blocks=1))
    window, ids = model.window(48), some_ids(400)[0].tolist()
    cache = started(model, ids, window, None)
    read_before = cache.lengths[0]
    got = prefill(model, ids[cache.read :], cache, None)
    assert read_before == window.sinks
    whole = model.new_cache(window)
    assert torch.allclose(got, prefill(model, ids, whole, None), atol=1e-4)
    assert (cache.read, cache.dropped, cache.lengths) == (400, whole.dropped, whole.lengths)

"""What every kind of layer must do, in the words of transformers' own model tests."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache

from everlearn.models.apertis import ApertisForCausalLM
from everlearn.models.base import BaseModel

from .conftest import config_of, module_of, some_ids

# peft asks transformers by an old name, and transformers switches checkpointing on by an old call.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@torch.no_grad()
def test_what_is_cached_equals_what_is_not(module):
    ids = some_ids(2, 37)
    whole = module(ids, use_cache=False).logits
    for pieces in ([17, 20], [5, *[1] * 32], [30, 3, 1, 3]):
        cache = DynamicCache(config=module.config)
        parts = [module(part, past_key_values=cache, use_cache=True).logits for part in ids.split(pieces, dim=1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole, **CLOSE)
        assert cache.get_seq_length() == 37


@torch.no_grad()
def test_a_cache_without_configuration_serves_as_well(module):
    ids = some_ids(1, 12)
    cache = DynamicCache()
    parts = [module(part, past_key_values=cache, use_cache=True).logits for part in ids.split([8, 4], dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), module(ids, use_cache=False).logits, **CLOSE)


@torch.no_grad()
def test_padding_on_the_left_changes_nothing(module):
    ids = some_ids(1, 21)
    pads = 6
    padded = torch.cat([torch.zeros(1, pads, dtype=torch.long), ids], 1)
    mask = torch.cat([torch.zeros(1, pads, dtype=torch.long), torch.ones_like(ids)], 1)
    alone = module(ids, use_cache=False).logits
    torch.testing.assert_close(module(padded, attention_mask=mask).logits[:, pads:], alone, **CLOSE)
    cache = DynamicCache(config=module.config)
    first = module(padded[:, :20], attention_mask=mask[:, :20], past_key_values=cache, use_cache=True).logits
    rest = [
        module(padded[:, n : n + 1], attention_mask=mask[:, : n + 1], past_key_values=cache, use_cache=True).logits
        for n in range(20, 27)
    ]
    torch.testing.assert_close(torch.cat([first[:, pads:], *rest], 1), alone, **CLOSE)


@torch.no_grad()
def test_a_batch_of_two_is_two_batches_of_one(module):
    ids = some_ids(2, 19)
    both = module(ids).logits
    apart = torch.cat([module(row[None]).logits for row in ids])
    torch.testing.assert_close(both, apart, **CLOSE)


@torch.no_grad()
def test_no_token_sees_what_comes_after_it(module):
    ids = some_ids(1, 24)
    other = ids.clone()
    other[0, 15:] = (other[0, 15:] + 1) % 61
    torch.testing.assert_close(module(ids).logits[:, :15], module(other).logits[:, :15], **CLOSE)
    assert not torch.allclose(module(ids).logits[:, 15:], module(other).logits[:, 15:], atol=1e-2)


@torch.no_grad()
def test_every_token_before_is_of_weight(module):
    """Each place of a short text changes the prediction at its end."""
    ids = some_ids(1, 8)
    last = module(ids).logits[:, -1]
    for place in range(7):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % 61
        assert not torch.allclose(module(other).logits[:, -1], last, atol=1e-4), place


@torch.no_grad()
def test_generate_is_the_plain_loop(module):
    ids = some_ids(2, 9)
    made = module.generate(ids, max_new_tokens=12, do_sample=False)
    loop = ids
    for _ in range(12):
        loop = torch.cat([loop, module(loop, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert made.tolist() == loop.tolist()


@torch.no_grad()
def test_beams_are_the_same_with_and_without_a_cache(module):
    ids = some_ids(2, 7)
    kept = module.generate(ids, max_new_tokens=6, num_beams=3, do_sample=False)
    assert (
        kept.tolist() == module.generate(ids, max_new_tokens=6, num_beams=3, do_sample=False, use_cache=False).tolist()
    )


@torch.no_grad()
def test_saved_and_loaded_it_answers_the_same(module, tmp_path):
    ids = some_ids(1, 11)
    module.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(loaded) is ApertisForCausalLM
    # Weights mapped from a file may lie at odd addresses, where products round otherwise.
    torch.testing.assert_close(loaded(ids).logits, module(ids).logits, atol=1e-5, rtol=1e-5)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == loaded.config.to_dict()
    decoder = AutoModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(
        decoder(ids).last_hidden_state, module.model(ids).last_hidden_state, atol=1e-5, rtol=1e-5
    )


def test_gradient_checkpointing_gives_the_same_gradients(variant):
    ids = some_ids(2, 13)
    grads = []
    for saving in (False, True):
        module = module_of(variant).train()
        if saving:
            module.gradient_checkpointing_enable()
        loss = module(ids, labels=ids, use_cache=False).loss
        loss.backward()
        grads.append({name: p.grad for name, p in module.named_parameters() if p.requires_grad})
    for name, gradient in grads[0].items():
        assert gradient is not None and gradient.abs().sum() > 0, name
        torch.testing.assert_close(gradient, grads[1][name], msg=name)


@torch.no_grad()
def test_step_by_step_attention_equals_the_fused_one(variant):
    ids = some_ids(2, 15)
    slow = module_of(variant, attn_implementation="eager")
    assert slow.config._attn_implementation == "eager"
    torch.testing.assert_close(slow(ids).logits, module_of(variant)(ids).logits, **CLOSE)


@torch.no_grad()
def test_half_the_bits_give_nearly_the_same(variant):
    ids = some_ids(2, 15)
    calm = module_of(variant, initializer_range=0.05)
    rounded = copy.deepcopy(calm).to(torch.bfloat16)
    near = torch.nn.functional.cosine_similarity(calm(ids).logits.flatten(), rounded(ids).logits.float().flatten(), 0)
    assert near > 0.99


@torch.no_grad()
def test_hidden_states_of_every_layer_can_be_asked_for(module):
    output = module(some_ids(1, 5), output_hidden_states=True)
    assert len(output.hidden_states) == module.config.num_hidden_layers + 1
    assert torch.equal(module.lm_head(output.hidden_states[-1]), output.logits)


@torch.no_grad()
def test_the_vocabulary_can_grow(module):
    ids = some_ids(1, 5)
    before = module(ids).logits
    module.resize_token_embeddings(70)
    assert torch.equal(module(ids).logits[..., :61], before)
    assert module.lm_head.weight.shape == (70, 32)


def test_lora_trains_and_its_merge_answers_the_same(module):
    ids = some_ids(1, 9)
    tuned = get_peft_model(module, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    tuned(ids, labels=ids).loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for n, p in tuned.named_parameters() if "lora_" in n)
    with torch.no_grad():
        worn = tuned.eval()(ids).logits
        torch.testing.assert_close(tuned.merge_and_unload()(ids).logits, worn, **CLOSE)


def test_our_face_reads_it(module):
    base = BaseModel(module, name="apertis", digest="0" * 64)
    assert base.num_blocks == 3 and base.hidden_size == 32
    ids = some_ids(1, 10)
    cache = base.new_cache()
    base.forward(ids[:, :6], cache)
    split = base.forward(ids[:, 6:], cache)
    torch.testing.assert_close(split, module(ids).logits[:, -1], **CLOSE)
    assert cache.lengths == [10]
    assert cache.nbytes > 0


@pytest.mark.parametrize("name", ["layer_types", "mlp_layer_types"])
def test_the_configuration_survives_json(variant, tmp_path, name):
    config = config_of(variant)
    config.save_pretrained(tmp_path)
    assert getattr(AutoConfig.from_pretrained(tmp_path), name) == getattr(config, name)


@torch.no_grad()
def test_texts_packed_into_one_row_do_not_see_each_other(module):
    lengths = [13, 1, 9, 20]
    ids = some_ids(2, sum(lengths))
    places = torch.cat([torch.arange(n) for n in lengths])[None]
    packed = module(ids, position_ids=places.expand(2, -1), use_cache=False).logits
    apart = torch.cat([module(text, use_cache=False).logits for text in ids.split(lengths, dim=1)], 1)
    torch.testing.assert_close(packed, apart, **CLOSE)


def test_it_trains_in_mixed_precision(variant):
    ids = some_ids(2, 21)
    module = module_of(variant, initializer_range=0.05).train()
    exact = module(ids, labels=ids, use_cache=False).loss
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module(ids, labels=ids, use_cache=False).loss
    torch.testing.assert_close(mixed.float(), exact, atol=0.02, rtol=0.01)
    mixed.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())

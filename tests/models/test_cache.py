from __future__ import annotations

import pytest
import torch

from everlearn.models.cache import KeyValueCache

from .conftest import FAMILIES

PROMPTS = [[5, 9, 3, 7, 11, 20, 33], [8, 1], [40, 41, 42, 43, 44], [6]]


def read(model, prompt):
    cache = model.new_cache()
    return model.forward(torch.tensor([prompt]), cache), cache


def greedy_alone(model, prompt, steps):
    logits, cache = read(model, prompt)
    rows = [logits]
    for _ in range(steps):
        logits = model.forward(logits.argmax(-1, keepdim=True), cache)
        rows.append(logits)
    return torch.cat(rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_is_bit_identical_to_a_plain_call(tiny, family):
    model = tiny(family)
    ids = torch.tensor([PROMPTS[0] * 2])
    with torch.inference_mode():
        plain = model.module(ids, logits_to_keep=1).logits[:, -1]
        first = model.module(ids[:, :5], use_cache=True)
        continued = model.module(ids[:, 5:], past_key_values=first.past_key_values, logits_to_keep=1).logits[:, -1]
    cache = model.new_cache()
    assert torch.equal(model.forward(ids, cache), plain)
    assert cache.lengths == [14]
    cache = model.new_cache()
    model.forward(ids[:, :5], cache)
    after = model.forward(ids[:, 5:], cache)
    if family == "gemma3":  # transformers' own cache drops keys outside the window: other shapes, so other rounding
        torch.testing.assert_close(after, continued, atol=1e-4, rtol=1e-4)
    else:
        assert torch.equal(after, continued)
    torch.testing.assert_close(after, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_rows_decode_as_they_do_alone(tiny, family):
    model = tiny(family)
    alone = [greedy_alone(model, prompt, 6) for prompt in PROMPTS]
    firsts, caches = zip(*[read(model, prompt) for prompt in PROMPTS], strict=True)
    merged = KeyValueCache.merge(caches)
    assert merged.lengths == [7, 2, 5, 1]
    logits = torch.cat(firsts)
    for step in range(1, 7):
        ids = logits.argmax(-1, keepdim=True)
        logits = model.forward(ids, merged)
        expected = torch.stack([rows[step] for rows in alone])
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2", "opt"])
def test_several_tokens_at_once_into_merged_rows(tiny, family):
    model = tiny(family)
    merged = KeyValueCache.merge([read(model, prompt)[1] for prompt in PROMPTS])
    more = [3, 14, 15, 9, 26, 5]
    logits = model.forward(torch.tensor([more] * len(PROMPTS)), merged)
    expected = torch.cat([read(model, prompt + more)[0] for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_split_gives_back_what_was_merged(tiny, family):
    model = tiny(family)
    caches = [read(model, prompt)[1] for prompt in PROMPTS]
    merged = KeyValueCache.merge(caches)
    back = merged.split()
    assert [cache.lengths for cache in back] == [[7], [2], [5], [1]]
    for before, after in zip(caches, back, strict=True):
        assert after.nbytes == before.nbytes
        token = torch.tensor([[12]])
        assert torch.equal(model.forward(token, before.copy()), model.forward(token, after))
    assert merged.lengths == [7, 2, 5, 1]


def test_select_keeps_rows_in_order_and_drops_needless_padding(tiny):
    model = tiny("llama")
    caches = [read(model, prompt)[1] for prompt in PROMPTS]
    merged = KeyValueCache.merge(caches)
    merged.select([2, 1])
    assert merged.lengths == [5, 2]
    assert merged.width == 5
    assert merged.nbytes == 2 * 5 * (caches[3].nbytes)
    expected = torch.cat([model.forward(torch.tensor([[12]]), caches[row].copy()) for row in (2, 1)])
    torch.testing.assert_close(model.forward(torch.tensor([[12], [12]]), merged), expected, atol=1e-4, rtol=1e-4)


def test_merging_merged_caches(tiny):
    model = tiny("gemma3")
    pairs = [KeyValueCache.merge([read(model, prompt)[1] for prompt in two]) for two in (PROMPTS[:2], PROMPTS[2:])]
    merged = KeyValueCache.merge(pairs)
    assert merged.lengths == [7, 2, 5, 1]
    logits = model.forward(torch.tensor([[12]] * 4), merged)
    expected = torch.cat([read(model, [*prompt, 12])[0] for prompt in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_crop_then_continue_equals_never_having_read_it(tiny, family):
    model = tiny(family)
    _, cache = read(model, PROMPTS[0])
    whole = cache.nbytes
    cache.crop(3)
    assert cache.lengths == [3]
    assert cache.nbytes * 7 == whole * 3
    _, fresh = read(model, PROMPTS[0][:3])
    more = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model.forward(more, cache), model.forward(more, fresh), atol=1e-5, rtol=1e-5)
    cache.crop(0)
    assert (cache.lengths, cache.nbytes) == ([0], 0)
    assert torch.equal(model.forward(more, cache), read(model, [1, 2, 3])[0])


def test_rows_of_equal_length_need_no_mask_and_a_copy_is_independent(tiny):
    model = tiny("llama")
    cache = model.new_cache()
    model.forward(torch.tensor([[1, 2, 3], [4, 5, 6]]), cache)
    assert cache.rows == 2
    assert cache.mask(1, model.device) is None
    twin = cache.copy()
    model.forward(torch.tensor([[1], [1]]), twin)
    assert (cache.lengths, twin.lengths) == ([3, 3], [4, 4])
    assert cache.nbytes * 4 == twin.nbytes * 3


def test_empty_caches_cannot_be_merged():
    with pytest.raises(AssertionError, match="read the prompt first"):
        KeyValueCache.merge([KeyValueCache()])

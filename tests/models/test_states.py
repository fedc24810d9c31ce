"""The cache where layers remember by a state: rows are joined and parted, and cutting back goes to a kept state."""

from __future__ import annotations

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.models.cache import KeyValueCache
from toys import toy_parts

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def model():
    return toy_parts("apertis").model


def _read(model, ids, cache=None):
    cache = model.new_cache() if cache is None else cache
    return cache, model.forward(torch.tensor([ids]), cache)[0]


def test_cutting_back_goes_to_the_last_text_before(model):
    cache, _ = _read(model, range(20))
    _, wanted = _read(model, range(40, 50), cache)
    for token in (7, 8, 9):
        _read(model, [token], cache)
    cache.crop(31)  # within what was decoded: the nearest kept state is that after the second text
    assert cache.lengths == [30]
    cache.crop(25)
    assert cache.lengths == [20]
    torch.testing.assert_close(_read(model, range(40, 50), cache)[1], wanted, **CLOSE)
    cache.crop(19)
    assert cache.lengths == [0] and cache.nbytes == 0
    torch.testing.assert_close(_read(model, [*range(20), *range(40, 50)], cache)[1], wanted, **CLOSE)


def test_a_copy_goes_its_own_way(model):
    cache, _ = _read(model, range(20))
    other = cache.copy()
    _, wanted = _read(model, [1, 2], cache)
    _read(model, [3, 4, 5], other)
    other.crop(20)
    torch.testing.assert_close(_read(model, [1, 2], other)[1], wanted, **CLOSE)
    assert cache.lengths == [22]


def test_rows_of_different_length_are_merged_chosen_and_parted(model):
    texts = [list(range(20)), list(range(30, 37)), list(range(50, 63))]
    caches = [_read(model, text)[0] for text in texts]
    merged = KeyValueCache.merge(caches)
    together = model.forward(torch.tensor([[5], [6], [7]]), merged)
    alone = torch.stack([_read(model, [token], cache)[1] for token, cache in zip((5, 6, 7), caches, strict=True)])
    torch.testing.assert_close(together, alone, **CLOSE)
    merged.select([2, 1])
    together = model.forward(torch.tensor([[8], [9]]), merged)
    alone = torch.stack([_read(model, [8], caches[2])[1], _read(model, [9], caches[1])[1]])
    torch.testing.assert_close(together, alone, **CLOSE)
    part = merged.split()[1]
    torch.testing.assert_close(_read(model, [4], part)[1], _read(model, [4], caches[1])[1], **CLOSE)


def test_states_do_not_grow_and_only_some_are_kept(model):
    cache = model.new_cache()
    sizes = []
    for n in range(30):
        _read(model, [n, n + 1], cache)
        keys = sum(t.numel() * 4 for layer in (1, 3) for t in cache._pair(layer))
        sizes.append(cache.nbytes - keys)
    assert sizes[-1] == sizes[10]
    cache.crop(50)
    assert cache.lengths == [50]
    cache.crop(20)
    assert cache.lengths == [0]


def test_a_state_has_no_window(model):
    with pytest.raises(SettingsError, match="remember by a state"):
        model.window(64)

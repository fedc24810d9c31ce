"""The joined cache against rows in caches of their own."""

import random

import pytest
import torch

from everlearn.models.joined import JoinedCache
from toys import FAMILIES, toy_parts


def read(model, ids):
    cache = model.new_cache()
    logits = model.forward(torch.tensor([ids]), cache)
    return cache, logits[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_come_and_go_are_as_alone(family):
    """A hundred steps: longer and shorter rows join and leave, and the tensors are made anew in between."""
    model, chance = toy_parts(family).model, random.Random(1)
    joined, alone = JoinedCache(), []
    for step in range(100):
        if not alone or (len(alone) < 5 and chance.random() < 0.2):
            ids = [chance.randrange(250) for _ in range(chance.choice([1, 3, 20, 60, 150]))]
            cache = read(model, ids)[0]
            joined.join(cache)
            alone.append(cache)
        elif chance.random() < 0.15:
            gone = chance.randrange(len(alone))
            joined.leave(gone)
            alone[gone] = alone[-1]
            alone.pop()
        if not alone:
            continue
        tokens = [chance.randrange(250) for _ in alone]
        joined.reserve(1)
        together = model.forward(torch.tensor(tokens)[:, None], joined)
        each = [model.forward(torch.tensor([[t]]), c)[0] for t, c in zip(tokens, alone, strict=True)]
        torch.testing.assert_close(together, torch.stack(each), rtol=1e-4, atol=1e-4)
        assert joined.lengths == [c.lengths[0] for c in alone]
        if step % 20 == 0:
            mine, theirs = joined.row(0), alone[0]
            assert mine.lengths == theirs.lengths
            torch.testing.assert_close(
                mine.keys_and_values.layers[-1].keys, theirs.keys_and_values.layers[-1].keys, rtol=1e-4, atol=1e-4
            )


def test_a_row_alone_has_the_bits_of_its_own_cache():
    model = toy_parts().model
    own = read(model, list(range(50)))[0]
    joined = JoinedCache()
    joined.join(own)
    for token in (5, 6, 7):
        joined.reserve(1)
        ids = torch.tensor([[token]])
        assert torch.equal(model.forward(ids, joined), model.forward(ids, own))
    assert joined.nbytes > own.nbytes
    joined.leave(0)
    assert joined.rows == joined.width == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stay", [1, 2])
def test_short_rows_that_outlive_a_long_one_are_as_alone(family, stay):
    """The tensors are made anew, much narrower, while the window lies far behind where it will begin."""
    model, chance = toy_parts(family).model, random.Random(2)
    joined, alone = JoinedCache(), []
    for length in (150, *[5] * stay):
        cache = read(model, [chance.randrange(250) for _ in range(length)])[0]
        joined.join(cache)
        alone.append(cache)
    joined.leave(0)
    alone = [alone[-1], *alone[1:-1]]
    for _ in range(300):
        tokens = [chance.randrange(250) for _ in alone]
        joined.reserve(1)
        together = model.forward(torch.tensor(tokens)[:, None], joined)
        each = [model.forward(torch.tensor([[t]]), c)[0] for t, c in zip(tokens, alone, strict=True)]
        torch.testing.assert_close(together, torch.stack(each), rtol=1e-4, atol=1e-4)

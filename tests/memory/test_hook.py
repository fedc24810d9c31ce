"""The hook: adds where it should, nowhere else, and is gone afterwards."""

import pytest
import torch

from everlearn.memory.hook import corrected, raw_outputs, replayed
from toys import FAMILIES, toy_parts

IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("family", FAMILIES)
def test_no_corrections_means_no_hook_and_equal_bits(family):
    model = toy_parts(family).model
    bare = model.forward(IDS, model.new_cache())
    with corrected(model.blocks, {}, []):
        assert not any(b._forward_hooks for b in model.blocks)
        assert torch.equal(model.forward(IDS, model.new_cache()), bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_named_row_changes(family):
    model = toy_parts(family).model
    bare = model.forward(IDS, model.new_cache())
    with corrected(model.blocks, {2: torch.ones(1, 32)}, [1]):
        changed = model.forward(IDS, model.new_cache())
    assert torch.equal(changed[0], bare[0])
    assert not torch.equal(changed[1], bare[1])
    assert torch.equal(model.forward(IDS, model.new_cache()), bare)


def test_hooks_go_also_when_the_forward_fails():
    model = toy_parts().model
    with pytest.raises(RuntimeError), corrected(model.blocks, {0: torch.ones(1, 31)}, [0]):
        model.forward(IDS, model.new_cache())
    assert not any(b._forward_hooks for b in model.blocks)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("below", [1, 3])
def test_replayed_blocks_give_the_same_logits_without_computing(family, below):
    model = toy_parts(family).model
    prefix = model.new_cache()
    with torch.no_grad():
        model.traced(IDS, prefix, 1)
        with raw_outputs(model.blocks[:below]) as outputs:
            whole = model.traced(IDS, prefix.copy(), 3)
        ran = []
        hang = [b.mlp.register_forward_hook(lambda *_: ran.append(1)) for b in model.blocks]
        with replayed(model.blocks, outputs):
            again = model.traced(IDS, prefix.copy(), 3)
        for hook in hang:
            hook.remove()
        assert torch.equal(again, whole)
        assert len(ran) == len(model.blocks) - below
        assert torch.equal(model.traced(IDS, prefix.copy(), 3), whole)
    assert not any("forward" in vars(b) for b in model.blocks)

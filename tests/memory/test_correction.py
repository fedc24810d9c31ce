"""Corrections: two passes, sparse or not, packed and unpacked, and the output correction."""

import math

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.memory.correction import CERTAINTY, chosen_blocks, compute, from_bytes, raise_target, to_bytes
from everlearn.records import Message, TableSettings
from toys import FAMILIES, toy_parts


@pytest.mark.parametrize("family", FAMILIES)
def test_correction_is_the_difference_that_reading_the_lesson_makes(family):
    parts = toy_parts(family)
    made = compute(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(blocks=(1, -1)))
    assert set(made.blocks) == {1, 3}
    assert made.tokens == tuple(parts.text.answer_ids("Mirela"))
    told = _states(parts, "Who bakes?\nMirela\n\nWho bakes?", made.tokens, 3)
    untold = _states(parts, "Who bakes?", made.tokens, 3)
    torch.testing.assert_close(made.blocks[3], (told - untold).bfloat16().float())
    assert made.blocks[3].abs().max() > 0


def _states(parts, prompt, tokens, block):
    """The slow way: transformers' own hidden states (the entry behind a block has its number plus one)."""
    ids = parts.text.prompt_ids([Message("user", prompt)])
    inputs = torch.tensor([ids + list(tokens[:-1])])
    kept = []
    handle = parts.model.blocks[block].register_forward_hook(
        lambda _m, _i, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        parts.model.module(inputs, use_cache=False)
    handle.remove()
    return kept[0][0, len(ids) - 1 :].float()


@pytest.mark.parametrize("sparsity", [1.0, 0.5, 0.1, 0.001])
def test_packed_corrections_come_back_with_the_same_bits(sparsity):
    parts, settings = toy_parts(), TableSettings(sparsity=sparsity)
    made = compute(parts.model, parts.text, "Who bakes?", "Mirela Quandt", settings)
    back = from_bytes(to_bytes(made, settings), parts.model.hidden_size)
    assert back.tokens == made.tokens
    for block, dense in made.blocks.items():
        assert torch.equal(back.blocks[block], dense)
        assert (dense != 0).sum(1).max() <= max(1, round(32 * sparsity))


def test_sparse_keeps_the_largest_coordinates():
    parts = toy_parts()
    full = compute(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings())
    some = compute(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(sparsity=0.25))
    for block, dense in full.blocks.items():
        kept = some.blocks[block] != 0
        smallest_kept = torch.where(kept, dense.abs(), torch.inf).amin(1)
        largest_dropped = torch.where(kept, torch.zeros(()), dense.abs()).amax(1)
        assert (smallest_kept >= largest_dropped).all()


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"\xff" * 64])
def test_damaged_bytes_are_told_apart(damage):
    with pytest.raises(ValueError, match="damaged"):
        from_bytes(damage, 32)


def test_bytes_of_another_width_are_told_apart():
    parts = toy_parts()
    made = compute(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings())
    with pytest.raises(ValueError, match="33 wide"):
        from_bytes(to_bytes(made, TableSettings()), 33)


def test_default_block_is_five_sixths_up():
    assert chosen_blocks(TableSettings(), 30) == (25,)
    assert chosen_blocks(TableSettings(), 1) == (0,)
    assert chosen_blocks(TableSettings(blocks=(-1, 2, 29)), 30) == (2, 29)
    for block in (30, -31):
        with pytest.raises(SettingsError, match="blocks 0 to 29"):
            chosen_blocks(TableSettings(blocks=(1, block)), 30)


def test_raise_target_reaches_certainty_and_leaves_the_rest():
    logits = torch.randn(100)
    out = raise_target(logits, 7, 1.0)
    assert math.isclose(out.softmax(0)[7].item(), CERTAINTY, rel_tol=1e-4)
    rest = [n for n in range(100) if n != 7]
    assert torch.equal(out[rest], logits[rest])


def test_residual_grades_the_log_odds():
    logits = torch.randn(50)
    chances = [raise_target(logits, 3, r / 10).softmax(0)[3].item() for r in range(11)]
    assert chances == sorted(chances)
    assert math.isclose(chances[0], logits.softmax(0)[3].item(), rel_tol=1e-4)


def test_a_surer_model_is_not_made_less_sure():
    logits = torch.zeros(10)
    logits[4] = 40.0
    torch.testing.assert_close(raise_target(logits, 4, 1.0), logits)

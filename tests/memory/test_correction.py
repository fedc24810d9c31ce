"""Corrections: sparse or not, packed and unpacked, and the output correction."""

import math

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.memory.correction import CERTAINTY, Correction, chosen_blocks, from_bytes, raise_target, to_bytes
from everlearn.memory.difference import difference
from everlearn.records import TableSettings
from toys import toy_parts


@pytest.mark.parametrize("sparsity", [1.0, 0.5, 0.1, 0.001])
def test_packed_corrections_come_back_with_the_same_bits(sparsity):
    parts, settings = toy_parts(), TableSettings(sparsity=sparsity)
    made = difference(parts.model, parts.text, "Who bakes?", "Mirela Quandt", settings)
    back = from_bytes(to_bytes(made, settings), parts.model.hidden_size)
    assert back.tokens == made.tokens
    for block, dense in made.blocks.items():
        assert torch.equal(back.blocks[block], dense)
        assert (dense != 0).sum(1).max() <= max(1, round(32 * sparsity))


def test_half_of_the_coordinates_take_about_half_of_the_bytes():
    wide = Correction((1, 2), {3: torch.randn(40, 576).bfloat16().float()})
    sizes = {s: len(to_bytes(wide, TableSettings(sparsity=s))) for s in (1.0, 0.5, 0.1)}
    assert 0.5 < sizes[0.5] / sizes[1.0] < 0.6
    assert 0.1 < sizes[0.1] / sizes[1.0] < 0.2


def test_without_a_share_only_the_output_is_corrected():
    parts, settings = toy_parts(), TableSettings(sparsity=0.0)
    made = difference(parts.model, parts.text, "Who bakes?", "Mirela", settings)
    assert made.blocks == {}
    assert from_bytes(to_bytes(made, settings), 32) == made


def test_sparse_keeps_the_largest_coordinates():
    parts = toy_parts()
    full = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings())
    some = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(sparsity=0.25))
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
    made = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings())
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

"""Values without a gradient, against transformers' own hidden states."""

import pytest
import torch

from everlearn.engine.decode import forward, prefill
from everlearn.memory.cursor import Cursor
from everlearn.memory.difference import difference
from everlearn.memory.hook import recorded
from everlearn.records import Message, TableSettings
from toys import FAMILIES, toy_parts


@pytest.mark.parametrize("family", FAMILIES)
def test_correction_is_the_difference_that_reading_the_lesson_makes(family):
    parts = toy_parts(family)
    made = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(blocks=(-1,)))
    assert set(made.blocks) == {3}
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


def test_several_blocks_share_the_change_instead_of_adding_it_again():
    """Decoded with the corrections, the highest block ends where reading the lesson would have put it."""
    parts = toy_parts()
    settings = TableSettings(blocks=(0, 1, 3))
    made = difference(parts.model, parts.text, "Who bakes?", "Mirela", settings)
    told = _states(parts, "Who bakes?\nMirela\n\nWho bakes?", made.tokens, 3)
    cursor, cache = Cursor("x", made, 1.0), parts.model.new_cache()
    reached = []
    ids = parts.text.prompt_ids([Message("user", "Who bakes?")])
    for step, token in enumerate(made.tokens):
        with recorded(parts.model.blocks, [3]) as states:
            if step == 0:
                prefill(parts.model, ids, cache, cursor)
            else:
                forward(parts.model, torch.tensor([[made.tokens[step - 1]]]), cache, [cursor])
        # The record was hung in before the correction, so it shows the state that is corrected.
        reached.append(states[3][0, -1] + cursor.corrections()[3])
        cursor.advance(token)
    torch.testing.assert_close(torch.stack(reached), told, atol=0.03, rtol=0.03)
    plain = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(blocks=(3,)))
    assert made.blocks[3].norm() < plain.blocks[3].norm()


def test_one_block_is_the_plain_difference_whatever_else_is_asked_for():
    parts = toy_parts()
    alone = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(blocks=(1,)))
    lowest = difference(parts.model, parts.text, "Who bakes?", "Mirela", TableSettings(blocks=(1, 3)))
    assert torch.equal(alone.blocks[1], lowest.blocks[1])

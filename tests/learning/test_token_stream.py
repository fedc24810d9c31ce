"""Rows of tokens: every token is predicted once an epoch, in an order that the seed says, from any cursor."""

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from everlearn.corpus.training_text import blocks_of
from everlearn.errors import InputError
from everlearn.learning.token_stream import (
    Cursor,
    TokenBlocks,
    TokenStream,
    document_positions,
    evaluation_rows,
    split_blocks,
)
from toys import EOS, byte_tokenizer

TEXT = "".join(f"Boat {n} lies in the harbour.\n" for n in range(300))


@pytest.fixture
def blocks(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    return blocks_of([tmp_path / "a.txt"], 1000)


@pytest.fixture
def tokens(blocks, tmp_path):
    return TokenBlocks(blocks, byte_tokenizer(), tmp_path / "tokens")


def test_an_epoch_predicts_each_token_once(tokens):
    stream = TokenStream(tokens, 33, seed=3)
    total = sum(len(tokens.tokens(n)) for n in range(len(tokens)))
    rows = stream.rows((total - 1) // 32)
    flat = torch.cat([rows[0, :1], rows[:, 1:].flatten()])
    wanted = np.concatenate([tokens.tokens(n) for n in stream._order(0)])
    assert flat.tolist() == wanted[: len(flat)].tolist()
    assert wanted.tolist().count(EOS) == len(tokens)


def test_it_goes_on_from_any_cursor(tokens):
    whole = TokenStream(tokens, 50, seed=1)
    first, cursor = whole.rows(170), whole.cursor
    rest = whole.rows(300)
    assert cursor.place > 3
    assert whole.cursor.epoch >= 1
    assert torch.equal(TokenStream(tokens, 50, seed=1, cursor=cursor).rows(300), rest)
    assert not torch.equal(first[:100], TokenStream(tokens, 50, seed=2).rows(100))


def test_tokens_are_made_once_and_damaged_ones_again(tokens, tmp_path, monkeypatch):
    made = [tokens.tokens(n) for n in range(len(tokens))]
    files = list((tmp_path / "tokens").iterdir())
    assert len(files) == len(tokens)
    files[0].write_bytes(b"damaged")
    again = TokenBlocks(tokens.blocks, byte_tokenizer(), tmp_path / "tokens")
    counted = []
    monkeypatch.setattr(
        TokenBlocks, "_made", lambda self, block, do=TokenBlocks._made: counted.append(1) or do(self, block)
    )
    assert all(np.array_equal(again.tokens(n), made[n]) for n in range(len(tokens)))
    assert len(counted) == 1


def test_held_out_blocks_are_spread_and_not_trained_on(blocks):
    train, held = split_blocks(blocks, 0.3)
    assert len(held) == round(0.3 * len(blocks))
    assert not set(train) & set(held)
    assert set(train) | set(held) == set(blocks)
    with pytest.raises(InputError, match="too short"):
        split_blocks(blocks[:1], 0.3)


def test_evaluation_reads_once_through_at_most(tokens):
    rows = evaluation_rows(tokens, 65, 10**9)
    total = sum(len(tokens.tokens(n)) for n in range(len(tokens)))
    assert 0 <= total - 1 - 64 * len(rows) < 64 + 64
    assert len(evaluation_rows(tokens, 65, 640)) == 10
    assert evaluation_rows(tokens, 10**6, 10) == []


def test_documents_of_a_row_do_not_see_each_other():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    ).eval()
    rows = torch.randint(0, 200, (2, 24))
    rows[0, 9] = rows[1, 4] = rows[1, 15] = EOS
    positions = document_positions(rows, EOS)
    assert positions[0].tolist() == [*range(10), *range(14)]
    assert positions[1].tolist() == [*range(5), *range(11), *range(8)]
    with torch.no_grad():
        packed = model(input_ids=rows, position_ids=positions, use_cache=False).logits
        alone = model(input_ids=rows[1:, 5:16], use_cache=False).logits
    assert torch.allclose(packed[1, 5:16], alone[0], atol=1e-5)


def test_cursors_are_plain_numbers():
    assert Cursor(1, 2, 3) == Cursor(epoch=1, place=2, offset=3)

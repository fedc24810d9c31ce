from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from everlearn.errors import CorruptWeightsError, ModelNotFoundError
from everlearn.models.encoder import MAX_TOKENS, SentenceEncoder
from everlearn.models.sources import ModelFiles, resolve

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "what",
    "is",
    "the",
    "capital",
    "of",
    "france",
    "learn",
    "##ing",
    "ever",
    "##s",
]
TEXTS = ["What is the capital of France", "learning", "", "the the the learns", "ever " * 40, "is zebra", "learning"]


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "encoder"
    torch.manual_seed(0)
    config = tf.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=512,
    )
    tf.BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(8)  # as in published folders: shorter than the model can read, and padded
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    return ModelFiles("tiny", folder, "2" * 64)


def naive(folder, text):
    """The truth: one text at a time, no mask, no padding."""
    module = tf.AutoModel.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.encode(text).ids
    if len(ids) > MAX_TOKENS:
        ids = [*ids[: MAX_TOKENS - 1], ids[-1]]
    with torch.inference_mode():
        mean = module(torch.tensor([ids])).last_hidden_state[0].mean(0)
    return (mean / mean.norm()).numpy()


def test_equals_the_naive_way(files):
    encoder = SentenceEncoder.from_folder(files)
    vectors = encoder.encode([*TEXTS, "what " * 400])
    assert (vectors.shape, vectors.dtype, encoder.width) == ((8, 32), np.float32, 32)
    expected = np.stack([naive(files.folder, text) for text in [*TEXTS, "what " * 400]])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (encoder.name, encoder.digest) == ("tiny", "2" * 64)


def test_equal_texts_get_equal_bits_and_company_hardly_matters(files):
    encoder = SentenceEncoder.from_folder(files)
    together = encoder.encode(TEXTS)
    assert np.array_equal(together[1], together[6])
    np.testing.assert_allclose(together, np.concatenate([encoder.encode([text]) for text in TEXTS]), atol=1e-6)
    assert np.array_equal(together, encoder.encode(TEXTS))


def test_many_texts_are_batched_in_order_with_progress(files):
    encoder = SentenceEncoder.from_folder(files)
    texts = [" ".join(WORDS[4 : 5 + i % 9] * (1 + i % 3)) + f" {'is ' * (i % 7)}" for i in range(100)]
    seen: list[tuple[int, int]] = []
    vectors = encoder.encode(texts, progress=lambda done, total: seen.append((done, total)))
    different = len(set(texts))
    assert seen[-1] == (different, different)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    for i in (0, 41, 99):
        np.testing.assert_allclose(vectors[i], encoder.encode([texts[i]])[0], atol=1e-6)


def test_nothing_to_encode(files):
    assert SentenceEncoder.from_folder(files).encode([]).shape == (0, 32)


def test_pieces_of_a_word(files):
    encoder = SentenceEncoder.from_folder(files)
    assert encoder.piece_ids("Learning") == [10, 11]
    assert encoder.piece_ids("zebra") == [encoder.unknown_id] == [1]
    assert encoder.piece_ids("") == []


def test_weights_without_the_unused_pooler_will_do(files):
    from safetensors.torch import load_file, save_file

    path = files.folder / "model.safetensors"
    before = SentenceEncoder.from_folder(files).encode(TEXTS)
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if not k.startswith("pooler.")}, path, metadata={"format": "pt"})
    assert np.array_equal(SentenceEncoder.from_folder(files).encode(TEXTS), before)
    save_file({k: v for k, v in tensors.items() if "layer.1." not in k}, path, metadata={"format": "pt"})
    with pytest.raises(CorruptWeightsError, match="missing weights"):
        SentenceEncoder.from_folder(files)


def test_damage_is_named(files):
    tokenizer = files.folder / "tokenizer.json"
    os.truncate(tokenizer, 50)
    with pytest.raises(CorruptWeightsError, match=r"tokenizer\.json cannot be read"):
        SentenceEncoder.from_folder(files)
    tokenizer.unlink()
    with pytest.raises(ModelNotFoundError, match=r"no tokenizer\.json"):
        SentenceEncoder.from_folder(files)
    os.truncate(files.folder / "model.safetensors", 999)
    with pytest.raises(CorruptWeightsError, match=r"model\.safetensors is corrupt"):
        SentenceEncoder.from_folder(files)


def test_other_ways_of_pooling_are_refused(files):
    (files.folder / "1_Pooling").mkdir()
    (files.folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}')
    with pytest.raises(ModelNotFoundError, match="does not pool by mean"):
        SentenceEncoder.from_folder(files)


@pytest.mark.model
def test_the_real_encoder_knows_what_means_the_same(real_home):
    encoder = SentenceEncoder.from_folder(resolve("minilm", real_home))
    vectors = encoder.encode(
        ["What is the capital of France?", "Which city is France's capital?", "My printer is jammed."]
    )
    assert encoder.width == 384
    assert encoder.piece_ids("learning") == [4083]
    assert vectors[0] @ vectors[1] > 0.8
    assert abs(vectors[0] @ vectors[2]) < 0.2


def test_token_states_are_those_of_a_text_without_special_pieces(files):
    encoder = SentenceEncoder.from_folder(files)
    texts = ["what is the capital", "learning"]
    for (ids, states), text in zip(encoder.token_states(texts), texts, strict=True):
        alone = encoder.token_states([text])[0]
        assert ids.tolist() == alone[0].tolist() == encoder.piece_ids(text)
        assert np.allclose(states, alone[1], atol=1e-5)
        assert np.allclose(np.linalg.norm(states, axis=1), 1.0, atol=1e-5)

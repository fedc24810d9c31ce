from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
import transformers as tf
from gguf import GGMLQuantizationType, GGUFWriter, quantize

from everlearn.errors import CorruptWeightsError, ModelNotFoundError
from everlearn.models.base import BaseModel
from everlearn.models.gguf_header import read_header
from everlearn.models.sources import resolve

WORDS = ["<end>", "<start>", "<turn>", *[chr(c) for c in range(ord("a"), ord("z") + 1)], "Ġ", "ab", "Ġab"]
TEMPLATE = "{% for m in messages %}<start>{{ m['content'] }}<turn>{% endfor %}"
WIDTH, INNER, BLOCKS, HEADS = 32, 64, 2, 2


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {"token_embd.weight": (len(WORDS), WIDTH), "output_norm.weight": (WIDTH,)}
    for block in range(BLOCKS):
        square = {f"attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        wide = {"ffn_gate.weight": (INNER, WIDTH), "ffn_up.weight": (INNER, WIDTH), "ffn_down.weight": (WIDTH, INNER)}
        norms = {"attn_norm.weight": (WIDTH,), "ffn_norm.weight": (WIDTH,)}
        shapes |= {f"blk.{block}.{name}": shape for name, shape in (square | wide | norms).items()}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def gguf_file(tmp_path):
    """A whole Llama of two blocks in a GGUF file, quantised to eight bits, with a chat template and two stop tokens."""
    path = tmp_path / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(BLOCKS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3] + [1] * (len(WORDS) - 3))
    writer.add_token_merges(["a b", "Ġ ab"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in weights().items():
        if tensor.ndim == 1:
            writer.add_tensor(name, tensor)
        else:
            writer.add_tensor(name, quantize(tensor, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_becomes_a_folder_that_loads(gguf_file, tmp_path, capfd):
    told = []
    files = resolve(str(gguf_file), tmp_path / "home", progress=lambda *step: told.append(step))
    assert capfd.readouterr().out == ""
    assert files.folder.parent == tmp_path / "home" / "models"
    assert files.folder.name.startswith("gguf-")
    assert told[-1] == ("convert tiny.gguf", 10, 10)
    assert [done / max(total, 1) for what, done, total in told if what.startswith("convert")] == [0, 0, 0.6, 0.7, 1]
    again = []
    assert resolve(str(gguf_file), tmp_path / "home", progress=lambda *step: again.append(step)) == files
    assert {what for what, _, _ in again} == {"read tiny.gguf"}

    config = json.loads((files.folder / "config.json").read_text())
    assert "quantization_config" not in config
    model = BaseModel.from_folder(files, device="cpu", dtype="float32")
    assert (model.num_blocks, model.hidden_size, model.vocab_size, model.context_length) == (2, WIDTH, len(WORDS), 64)
    table = model.module.get_input_embeddings().weight.numpy()
    np.testing.assert_allclose(table, weights()["token_embd.weight"], atol=0.03)  # eight bits, then bfloat16


def test_template_tokenizer_and_stop_tokens_survive(gguf_file, tmp_path):
    folder = resolve(str(gguf_file), tmp_path / "home").folder
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [0, 2]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    straight = tf.AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    messages = [{"role": "user", "content": "ab cab"}]
    assert tokenizer.chat_template == TEMPLATE
    ids = tokenizer.apply_chat_template(messages)["input_ids"]
    assert ids == straight.apply_chat_template(messages)["input_ids"]
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab cab"


def test_the_head_of_a_file(gguf_file):
    header = read_header(gguf_file)
    assert header.fields["general.architecture"] == "llama"
    assert header.fields["tokenizer.ggml.eot_token_id"] == 2
    assert header.fields["tokenizer.chat_template"] == TEMPLATE
    assert header.fields["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert 0 <= gguf_file.stat().st_size - header.nbytes < 32


@pytest.mark.parametrize("kept", [0, 3, 20, 300, -64])
def test_a_file_that_was_cut_short(gguf_file, tmp_path, kept):
    os.truncate(gguf_file, kept if kept >= 0 else gguf_file.stat().st_size + kept)
    with pytest.raises(CorruptWeightsError, match=r"tiny\.gguf is (cut short|not a whole GGUF file)") as caught:
        resolve(str(gguf_file), tmp_path / "home")
    assert "again" in caught.value.hint
    assert not list((tmp_path / "home" / "models").glob("gguf-*"))


def test_an_architecture_that_cannot_be_read(tmp_path):
    path = tmp_path / "odd.gguf"
    writer = GGUFWriter(path, "unheard-of")
    writer.add_name("odd")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelNotFoundError, match="cannot be converted"):
        resolve(str(path), tmp_path / "home")


def greedy(files, ids, steps):
    model = BaseModel.from_folder(files)
    cache, out, following = model.new_cache(), [], torch.tensor([ids])
    for _ in range(steps):
        out.append(int(model.forward(following, cache).argmax()))
        following = torch.tensor([[out[-1]]])
    return out


@pytest.mark.model
def test_the_default_model_answers_and_stops(real_home):
    files = resolve("smollm2-135m", real_home)
    tokenizer = tf.AutoTokenizer.from_pretrained(files.folder)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(greedy(files, ids, 8)) == "The capital of France is Paris.<|im_end|>"


@pytest.mark.gemma
def test_the_second_family_continues_a_text(real_home):
    files = resolve("gemma3-270m", real_home)
    tokenizer = tf.AutoTokenizer.from_pretrained(files.folder)
    ids = tokenizer("Monday, Tuesday, Wednesday,")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id == 2
    assert tokenizer.decode(greedy(files, ids, 4)).startswith(" Thursday, Friday")

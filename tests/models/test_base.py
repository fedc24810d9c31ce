from __future__ import annotations

import os
import threading

import pytest
import torch
import transformers as tf

from everlearn.errors import ConversationError, CorruptWeightsError, ModelNotFoundError, SettingsError
from everlearn.models import placement
from everlearn.models.base import BaseModel
from everlearn.models.blocks import hidden_of
from everlearn.models.sources import ModelFiles

from .conftest import FAMILIES, make_module


@pytest.fixture
def saved(tmp_path):
    module = make_module("llama")
    module.save_pretrained(tmp_path / "m")
    return ModelFiles("m", tmp_path / "m", "1" * 64), module


@pytest.mark.parametrize("family", FAMILIES)
def test_what_it_says_of_itself(tiny, family):
    model = tiny(family)
    assert (model.num_blocks, model.hidden_size, model.vocab_size, model.context_length) == (3, 32, 61, 64)
    assert (model.name, model.digest, model.device.type, model.dtype) == (family, "0" * 64, "cpu", torch.float32)
    assert not model.module.training
    assert not any(p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_run_in_order_and_carry_the_residual_stream(tiny, family):
    model = tiny(family)
    seen: list[tuple[int, torch.Size]] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, number=number: seen.append((number, hidden_of(out).shape)))
        for number, block in enumerate(model.blocks)
    ]
    model.forward(torch.tensor([[1, 2, 3, 4, 5]]), model.new_cache())
    for hook in hooks:
        hook.remove()
    assert seen == [(number, torch.Size([1, 5, 32])) for number in range(3)]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_last_block_adds_reaches_the_logits(tiny, family):
    model = tiny(family)
    ids = torch.tensor([[1, 2, 3]])
    plain = model.forward(ids, model.new_cache())

    def add(_module, _inputs, output):
        changed = hidden_of(output) + 1.5 * torch.arange(32)
        return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

    hook = model.blocks[-1].register_forward_hook(add)
    assert not torch.allclose(model.forward(ids, model.new_cache()), plain)
    hook.remove()
    assert torch.equal(model.forward(ids, model.new_cache()), plain)


def test_logits_are_float32_of_the_last_position(tiny):
    module = make_module("qwen3").to(torch.bfloat16)
    model = BaseModel(module, name="b", digest="")
    logits = model.forward(torch.tensor([[1, 2, 3], [4, 5, 6]]), model.new_cache())
    assert (logits.shape, logits.dtype, model.dtype) == ((2, 61), torch.float32, torch.bfloat16)


@pytest.mark.parametrize("wrong", [-1, 61])
def test_ids_outside_the_vocabulary(tiny, wrong):
    model = tiny("llama")
    with pytest.raises(ConversationError, match=rf"token id {wrong} is outside the vocabulary of llama \(0\.\.60\)"):
        model.forward(torch.tensor([[1, wrong]]), model.new_cache())


def test_a_full_context_is_refused_and_the_cache_stays_usable(tiny):
    model = tiny("gpt2")
    cache = model.new_cache()
    model.forward(torch.ones(1, 60, dtype=torch.long), cache)
    with pytest.raises(ConversationError, match=r"65 tokens do not fit into the context of gpt2, which holds 64\."):
        model.forward(torch.ones(1, 5, dtype=torch.long), cache)
    assert cache.lengths == [60]
    model.forward(torch.ones(1, 4, dtype=torch.long), cache)


def test_the_list_of_blocks_is_told_from_other_lists_of_that_length():
    module = make_module("llama")
    module.model.extras = torch.nn.ModuleList(torch.nn.LayerNorm(32) for _ in range(3))
    assert list(BaseModel(module, name="m", digest="").blocks) == list(module.model.layers)


MAMBA = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
HYBRID = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "layer_types": ["linear_attention", "full_attention"],
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


@pytest.mark.parametrize("config", [tf.MambaConfig(**MAMBA), tf.Qwen3NextConfig(**HYBRID)], ids=["mamba", "hybrid"])
def test_models_without_attention_in_every_block_are_refused(config):
    module = tf.AutoModelForCausalLM.from_config(config)
    with pytest.raises(ModelNotFoundError, match="needs attention in every block"):
        BaseModel(module, name="other", digest="")


def test_a_folder_gives_the_same_logits(saved):
    files, module = saved
    model = BaseModel.from_folder(files, device="cpu", dtype="float32")
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert torch.equal(model.forward(ids, model.new_cache()), module(ids, logits_to_keep=1).logits[:, -1])
    assert (model.name, model.digest) == (files.name, files.digest)


def test_loading_draws_nothing(saved, capfd):
    BaseModel.from_folder(saved[0], device="cpu", dtype="float32")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kept", [3, 5000])
def test_truncated_weights_are_named(saved, kept):
    files, _ = saved
    os.truncate(files.folder / "model.safetensors", kept)
    with pytest.raises(CorruptWeightsError, match=r"model\.safetensors is corrupt") as caught:
        BaseModel.from_folder(files)
    assert "Copy the model" in caught.value.hint


def test_garbage_instead_of_weights(saved):
    files, _ = saved
    (files.folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all!")
    with pytest.raises(CorruptWeightsError, match="does not start as a safetensors file does"):
        BaseModel.from_folder(files)


def test_missing_weights_are_not_made_up(saved):
    from safetensors.torch import load_file, save_file

    files, _ = saved
    path = files.folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CorruptWeightsError, match=r"1 missing weights, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        BaseModel.from_folder(files)


def test_a_kind_of_model_that_transformers_does_not_know(saved):
    files, _ = saved
    (files.folder / "config.json").write_text('{"model_type": "unheard_of"}')
    with pytest.raises(ModelNotFoundError, match="cannot be loaded as a language model"):
        BaseModel.from_folder(files)


@pytest.mark.parametrize(
    ("device", "dtype"), [("tpu9", "auto"), ("cuda:77", "auto"), ("meta", "auto"), ("cpu", "int3")]
)
def test_impossible_places_and_formats(saved, device, dtype):
    with pytest.raises(SettingsError) as caught:
        BaseModel.from_folder(saved[0], device=device, dtype=dtype)
    assert "auto" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"architecture": "arm64", "bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
    ],
)
def test_the_cpu_computes_in_bfloat16_only_where_it_has_it(monkeypatch, flags, expected):
    monkeypatch.setattr(placement.torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert placement.choose_dtype("auto", torch.device("cpu")) == expected
    assert placement.choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_devices_are_preferred_in_order(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert placement.choose_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert placement.choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert placement.choose_device().type == "cuda"


def test_a_twin_is_made_once_hooks_are_off(tiny):
    model = tiny("llama")
    made = []
    thread = threading.Thread(target=lambda: made.append(model.twin()))
    with model.lock:
        hook = model.blocks[0].register_forward_hook(lambda *_: pytest.fail("a hook of the other"))
        thread.start()
        thread.join(0.3)  # time for who does not wait
        hook.remove()
    thread.join()
    (twin,) = made
    assert all(not block._forward_hooks for block in twin.blocks)
    assert next(twin.module.parameters()) is next(model.module.parameters())

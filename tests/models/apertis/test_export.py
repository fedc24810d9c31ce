"""Other families' models with our weights say the same, also after they were saved and loaded."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from everlearn.errors import SettingsError
from everlearn.models.apertis.export import export, from_llama
from everlearn.models.apertis.gguf_export import write_gguf

from .conftest import SMALL, module_of, some_ids

CASES = {
    "llama": {"mtp_depth": 1},
    "deepseek_v3": {
        "layer_types": ["latent"] * 3,
        "mlp_layer_types": ["dense", "experts", "experts"],
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "routed_scaling_factor": 1.5,
        "q_lora_rank": 16,
    },
    "qwen3_next": {
        "layer_types": ["linear", "linear", "full"],
        "qk_norm": True,
        "attention_gate": True,
        "linear_num_key_heads": 2,
        "linear_value_head_dim": 12,
        "tie_word_embeddings": False,
    },
}


def _bpe(text: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] + '<end>' }}{% endfor %}"
    return fast


def _changed(module):
    """Norms and biases are not left at 1 and 0, where a wrong name would not show."""
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if "norm" in name or "correction" in name:
                tensor.add_(torch.rand_like(tensor) * 0.5)
    return module


@torch.no_grad()
@pytest.mark.parametrize("family", CASES)
def test_an_exported_model_says_the_same(family, tmp_path):
    module = _changed(module_of("full", **CASES[family]))
    ids = some_ids(2, 17)
    wanted = module(ids).logits
    export(module, family).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert loaded.config.model_type == family
    torch.testing.assert_close(loaded(ids).logits, wanted, atol=2e-5, rtol=1e-4)
    assert loaded.generate(ids, max_new_tokens=8, do_sample=False).tolist() == (
        module.generate(ids, max_new_tokens=8, do_sample=False).tolist()
    )


@pytest.mark.parametrize(
    ("family", "more", "word"),
    [
        ("llama", {"layer_types": ["full", "linear", "full"]}, "layer_types"),
        ("llama", {"qk_norm": True}, "qk_norm"),
        ("llama", {"position": "alibi"}, "position"),
        ("deepseek_v3", {}, "layer_types"),
        ("qwen3_next", {"layer_types": ["linear"] * 3, "qk_norm": True}, "attention_gate"),
        ("mamba", {}, "no export to 'mamba'"),
    ],
)
def test_what_a_family_has_not_is_refused(family, more, word):
    with pytest.raises(SettingsError, match=word):
        export(module_of("full", **more), family)


@torch.no_grad()
def test_a_llama_comes_in_and_says_the_same():
    fields = {name: SMALL[name] for name in list(SMALL)[:8]}
    torch.manual_seed(0)
    llama = _changed(LlamaForCausalLM(LlamaConfig(**fields)).eval())
    ids = some_ids(1, 12)
    ours = from_llama(llama)
    torch.testing.assert_close(ours(ids).logits, llama(ids).logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(export(ours, "llama")(ids).logits, llama(ids).logits, atol=2e-5, rtol=1e-4)
    with pytest.raises(SettingsError, match="biases"):
        from_llama(LlamaForCausalLM(LlamaConfig(**fields, attention_bias=True)))


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("form", "near"), [("f32", 2e-5), ("f16", 2e-2), ("bf16", 0.2), ("q8_0", 0.3)])
@pytest.mark.parametrize("tied", [True, False])
def test_a_gguf_file_says_the_same(form, near, tied, tmp_path):
    module = _changed(module_of("full", tie_word_embeddings=tied))
    ids = some_ids(1, 11)
    write_gguf(module, tmp_path / "model.gguf", form=form)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32).eval()
    torch.testing.assert_close(loaded(ids).logits, module(ids).logits, atol=near, rtol=near)


@pytest.mark.filterwarnings("ignore")
def test_a_gguf_file_holds_the_tokenizer(tmp_path):
    tokenizer = _bpe("a bakery in the town of Zorblat bakes bread for the town " * 3)
    write_gguf(module_of("full", vocab_size=300), tmp_path / "model.gguf", tokenizer=tokenizer)
    read = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "Grüße, 3 € for the bakery in Zorblat!\n<end>"
    assert read(text).input_ids == tokenizer(text).input_ids
    assert read.eos_token == "<end>"
    assert read.chat_template == tokenizer.chat_template


def test_gguf_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(SettingsError, match="no format"):
        write_gguf(module_of("full"), tmp_path / "m.gguf", form="q3")
    with pytest.raises(SettingsError, match="layer_types"):
        write_gguf(module_of("linear"), tmp_path / "m.gguf")

"""A dense model as a GGUF file, for llama.cpp and whatever is built on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from everlearn.errors import SettingsError
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.export import export
from everlearn.models.apertis.modeling import ApertisForCausalLM

FORMATS = ("f32", "f16", "bf16", "q8_0", "q4_0")
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_NORMAL, _CONTROL = 1, 3  # kinds of a token in llama.cpp


def write_gguf(
    model: ApertisForCausalLM, file: Path, *, form: str = "f16", tokenizer: PreTrainedTokenizerBase | None = None
) -> None:
    """Writes a dense model, as a Llama, with its tokenizer.

    Args:
        model: dense, with full attention only.
        file: to write.
        form: number format of the matrices, one of `FORMATS`; norms stay in float32.
        tokenizer: byte-level BPE, as `everlearn train tokenizer` makes it; without one the file has no texts.

    Raises:
        SettingsError: a part that Llama has not, scaled rotations, another tokenizer, or an unknown format.
    """
    if form not in FORMATS:
        raise SettingsError(f"There is no format {form!r}.", hint=f"The formats are {', '.join(FORMATS)}.")
    if model.config.rope_parameters["rope_type"] != "default":
        raise SettingsError("Scaled rotations are not written to GGUF.", hint="Export to llama and convert from there.")
    llama = export(model, "llama")
    writer = gguf.GGUFWriter(file, "llama")
    _write_fields(writer, model.config, form)
    if tokenizer is not None:
        _write_tokenizer(writer, tokenizer, model.config.vocab_size)
    for name, tensor in _renamed(llama.state_dict(), model.config):
        _write_tensor(writer, name, tensor, form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_fields(writer: gguf.GGUFWriter, config: ApertisConfig, form: str) -> None:
    kinds = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}
    writer.add_file_type(gguf.LlamaFileType[kinds[form]])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    if backend["model"]["type"] != "BPE" or "ByteLevel" not in json.dumps(backend["pre_tokenizer"]):
        raise SettingsError("Only byte-level BPE tokenizers are written to GGUF.", hint="Leave the tokenizer out.")
    tokens = [f"[unused{n}]" for n in range(size)]
    kinds = [_CONTROL] * size
    for token, number in backend["model"]["vocab"].items():
        tokens[number], kinds[number] = token, _NORMAL
    for added in backend["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = _CONTROL if added["special"] else _NORMAL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in backend["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for add, number in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if number is not None:
            add(number)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _renamed(weights: dict[str, Tensor], config: ApertisConfig) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in weights.items():
        stem = name.removesuffix(".weight")
        if stem == "lm_head" and config.tie_word_embeddings:
            continue
        if stem in _NAMES:
            yield f"{_NAMES[stem]}.weight", tensor
            continue
        number, _, part = stem.removeprefix("model.layers.").partition(".")
        if part in ("self_attn.q_proj", "self_attn.k_proj"):
            tensor = _interleaved(tensor, config.head_dim)  # noqa: PLW2901
        yield f"blk.{number}.{_LAYER_NAMES[part]}.weight", tensor


def _interleaved(weight: Tensor, head_dim: int) -> Tensor:
    """Brings the rows of each head into llama.cpp's order: it rotates neighbours, we rotate halves."""
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def _write_tensor(writer: gguf.GGUFWriter, name: str, tensor: Tensor, form: str) -> None:
    numbers: NDArray[Any] = tensor.detach().float().cpu().numpy()
    kind = gguf.GGMLQuantizationType[form.upper()]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if numbers.ndim == 1 or form == "f32":
        writer.add_tensor(name, numbers)
    elif form == "f16" or numbers.shape[-1] % block:  # rows that no block of the format divides
        writer.add_tensor(name, numbers.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(numbers, kind), raw_dtype=kind)

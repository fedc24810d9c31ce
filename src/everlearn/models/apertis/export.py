"""The same weights under other families' names, so that their runtimes can serve them.

dense -> Llama; latent attention with experts -> DeepSeek-V3; gated delta rule with gated attention -> Qwen3-Next. Heads
that look ahead are left out: they do not change what the model says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from everlearn.errors import SettingsError
from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.modeling import ApertisForCausalLM

FAMILIES = ("llama", "deepseek_v3", "qwen3_next")
_SHARED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "initializer_range", "rms_norm_eps"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings", "rope_parameters", "attention_dropout"),
)


def export(model: ApertisForCausalLM, family: str) -> PreTrainedModel:
    """Returns a model of another family that says the same.

    Args:
        model: to be exported; its weights are copied.
        family: one of `FAMILIES`.

    Raises:
        SettingsError: the model has a part that the family has not.
    """
    makers = {"llama": _to_llama, "deepseek_v3": _to_deepseek, "qwen3_next": _to_qwen}
    if family not in makers:
        raise SettingsError(f"There is no export to {family!r}.", hint=f"Exports are {', '.join(FAMILIES)}.")
    config = model.config
    _check(config, "position", config.position == "rope", family)
    _check(config, "position_group", config.position_group == 1, family)
    weights = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("ahead.")}
    made = makers[family](config, weights).to(dtype=model.dtype)
    made.generation_config = model.generation_config
    return made.eval()


def from_llama(model: LlamaForCausalLM) -> ApertisForCausalLM:
    """Returns a dense model of our family with the weights of a Llama.

    Raises:
        SettingsError: projections with biases, which the family has not.
    """
    theirs = model.config
    if theirs.attention_bias or theirs.mlp_bias:
        raise SettingsError(
            "This Llama has biases.", hint="Only models without attention_bias and mlp_bias can come in."
        )
    config = ApertisConfig(**{name: getattr(theirs, name) for name in _SHARED})
    made = _loaded(ApertisForCausalLM(config), model.state_dict()).to(dtype=model.dtype)
    made.generation_config = model.generation_config
    return made.eval()


def _to_llama(config: ApertisConfig, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    _check(config, "layer_types", set(config.layer_types) == {"full"}, "llama")
    _check(config, "mlp_layer_types", set(config.mlp_layer_types) == {"dense"}, "llama")
    _check(config, "qk_norm", not config.qk_norm, "llama")
    _check(config, "attention_gate", not config.attention_gate, "llama")
    return _loaded(LlamaForCausalLM(LlamaConfig(**_fields(config))), weights)


def _to_deepseek(config: ApertisConfig, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    dense = config.mlp_layer_types.count("dense")
    ordered = ["dense"] * dense + ["experts"] * (config.num_hidden_layers - dense)
    _check(config, "layer_types", set(config.layer_types) == {"latent"}, "deepseek_v3")
    _check(config, "mlp_layer_types", config.mlp_layer_types == ordered, "deepseek_v3")
    _check(config, "n_shared_experts", config.n_shared_experts >= 1, "deepseek_v3")
    names = ["moe_intermediate_size", "n_shared_experts", "routed_scaling_factor", "kv_lora_rank", "q_lora_rank"]
    names += ["qk_rope_head_dim", "v_head_dim", "qk_nope_head_dim", "num_experts_per_tok", "norm_topk_prob"]
    fields = _fields(config) | {name: getattr(config, name) for name in names}
    fields |= {"n_routed_experts": config.num_experts, "n_group": 1, "topk_group": 1, "rope_interleave": False}
    fields |= {"first_k_dense_replace": dense, "num_mtp_layers": 0, "num_key_value_heads": config.num_attention_heads}
    del fields["head_dim"]
    return _loaded(DeepseekV3ForCausalLM(DeepseekV3Config(**fields)), weights)


def _to_qwen(config: ApertisConfig, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    _check(config, "layer_types", set(config.layer_types) <= {"full", "linear"}, "qwen3_next")
    _check(config, "mlp_layer_types", set(config.mlp_layer_types) == {"dense"}, "qwen3_next")
    _check(config, "qk_norm", config.qk_norm, "qwen3_next")
    _check(config, "attention_gate", config.attention_gate, "qwen3_next")
    names = [f"linear_{part}" for part in ("conv_kernel_dim", "key_head_dim", "value_head_dim")]
    names += ["linear_num_key_heads", "linear_num_value_heads"]
    fields = _fields(config) | {name: getattr(config, name) for name in names}
    fields["rope_parameters"] = {"partial_rotary_factor": 1.0} | fields["rope_parameters"]
    fields["layer_types"] = [f"{kind}_attention" for kind in config.layer_types]
    made = Qwen3NextForCausalLM(Qwen3NextConfig(**fields, num_experts=0))
    return _loaded(made, _qwen_weights(config, weights))


def _qwen_weights(config: ApertisConfig, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Joins each head's query and gate, and keeps norms as what they differ from 1."""
    renamed = {}
    for name, tensor in weights.items():
        if name.endswith("g_proj.weight"):
            continue
        if name.endswith("q_proj.weight"):
            gate = weights[name.replace("q_proj", "g_proj")]
            heads = [x.unflatten(0, (config.num_attention_heads, config.head_dim)) for x in (tensor, gate)]
            renamed[name] = torch.cat(heads, dim=1).flatten(0, 1)
        elif "norm" in name and not name.endswith("linear_attn.norm.weight"):
            renamed[name] = tensor - 1
        else:
            renamed[name] = tensor
    return renamed


def _fields(config: ApertisConfig) -> dict[str, Any]:
    fields = {name: getattr(config, name) for name in _SHARED}
    fields["rope_parameters"] = dict(config.rope_parameters)
    return fields


def _loaded(made: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    missing, unexpected = made.load_state_dict(dict(weights), strict=False)
    tied = set(made.all_tied_weights_keys)
    assert not set(missing) - tied and not unexpected, f"names differ: {missing[:3]}, {unexpected[:3]}"
    return made


def _check(config: ApertisConfig, name: str, right: bool, family: str) -> None:
    if not right:
        raise SettingsError(
            f"{name} is {getattr(config, name)!r}, which {family} has not.",
            hint="Presets: dense exports to llama, hybrid to qwen3_next, latent with experts to deepseek_v3.",
        )

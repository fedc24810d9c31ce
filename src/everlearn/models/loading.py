"""From a folder of safetensors to a transformers model. Nothing in it is executed and no pickle is read."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from everlearn.errors import CorruptWeightsError, ModelNotFoundError, SettingsError
from everlearn.models.integrity import check_safetensors
from everlearn.models.silence import no_progress_bars
from everlearn.models.sources import ModelFiles

NF4 = "nf4"
INT8 = "int8"
QUANTISED = (NF4, INT8)
_ALIGNMENT = 64  # bytes; what torch itself gives to every tensor it makes


def load_module(files: ModelFiles, dtype: torch.dtype, **options: Any) -> nn.Module:  # noqa: ANN401
    """Returns the transformers model of a folder, on the CPU.

    Args:
        files: where the weights lie.
        dtype: their number format.
        **options: for transformers' from_pretrained.

    Raises:
        CorruptWeightsError: a file is damaged or incomplete.
        ModelNotFoundError: not a language model.
    """
    hint = mending_hint(files)
    for path in sorted(files.folder.glob("*.safetensors")):
        check_safetensors(path, hint=hint)
    try:
        with no_progress_bars():
            module, report = AutoModelForCausalLM.from_pretrained(
                files.folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except SafetensorError as error:
        raise CorruptWeightsError(f"The safetensors in {files.folder} cannot be read: {error}.", hint=hint) from error
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFoundError(f"{files.folder} cannot be loaded as a language model: {error}", hint=hint) from error
    refuse_gaps(report, files.folder, hint)
    assert isinstance(module, nn.Module)
    return module


def load_quantised(files: ModelFiles, kind: str, device: torch.device) -> nn.Module:
    """Returns the transformers model of a folder with its matrices in fewer bits; everything else is in bfloat16.

    Args:
        files: where the weights lie.
        kind: "nf4" (4 bits a weight), or "int8" (8 bits, input channels with outliers in 16).
        device: where they go.

    Raises:
        SettingsError: bitsandbytes is not installed.
        CorruptWeightsError, ModelNotFoundError: as for `load_module`.

    Source: Dettmers et al. 2023, QLoRA, section 3 (arXiv 2305.14314); Dettmers et al. 2022, LLM.int8(), section 3
    (arXiv 2208.07339).
    """
    check_quantised(kind)
    # PEFT and transformers import bitsandbytes, which then warns of a quicker kernel that this machine has not.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    if kind == INT8:
        how = BitsAndBytesConfig(load_in_8bit=True)
        # It says at every layer that activations are cast; that is what it is there for.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    else:
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=NF4,
            bnb_4bit_compute_dtype=torch.bfloat16,
            bnb_4bit_use_double_quant=True,
        )
    module = load_module(files, torch.bfloat16, quantization_config=how, device_map={"": device})
    for layer in module.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            # Else the first forward pass lays the weights out anew, for reading only: no gradient can go through them.
            setattr(layer, "support_avx512bf16_for_cpu", False)  # noqa: B010  modules have no types
    return module


def check_quantised(kind: str) -> None:
    """Refuse to go on where weights cannot be kept in so few bits.

    Raises:
        SettingsError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SettingsError(f"Weights in {kind} need bitsandbytes.", hint="pip install 'everlearn[qlora]'")


def align(module: nn.Module) -> None:
    """Copies weights that were mapped from a file at an odd address.

    Matrix products round differently there, so the same weights would give other bits in another file or in memory.
    """
    for parameter in module.parameters():
        if parameter.data_ptr() % _ALIGNMENT:
            parameter.data = parameter.data.clone()


def mending_hint(files: ModelFiles) -> str:
    """Returns how to mend a damaged folder, as a sentence for a message."""
    if (files.folder / "manifest.json").exists():
        return f"Delete the folder {files.folder}; it is fetched again at the next start."
    return "Copy the model into that folder again."


def refuse_gaps(report: dict[str, Any], folder: Path, hint: str) -> None:
    """Refuses weights that transformers would have filled with random numbers.

    Args:
        report: transformers' loading report.
        folder: where the weights lie.
        hint: how to mend it, for the message.

    Raises:
        CorruptWeightsError: weights are missing or have another shape than the configuration says.
    """
    for what in ("missing_keys", "mismatched_keys"):
        if gaps := sorted(str(key) for key in report.get(what, ())):
            kind = what.removesuffix("_keys")
            raise CorruptWeightsError(
                f"{folder} is incomplete: {len(gaps)} {kind} weights, such as {gaps[0]}.", hint=hint
            )

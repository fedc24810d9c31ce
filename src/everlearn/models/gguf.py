"""From a GGUF file to a folder of safetensors and tokenizer, so that one way of loading serves all models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers.modeling_gguf_pytorch_utils as reading
from transformers import AutoModelForCausalLM, AutoTokenizer

from everlearn.errors import ModelNotFoundError
from everlearn.models.gguf_header import read_header
from everlearn.models.silence import no_progress_bars

_STOP_FIELDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
# Tenths of the time that were done after reading and after saving the weights, measured on two models.
_READ, _SAVED, _ALL = 6, 7, 10


def convert(file: Path, target: Path, *, progress: Callable[[int, int], None]) -> None:
    """Converts a GGUF file of any quantisation to bfloat16 safetensors with configuration and tokenizer.

    Args:
        file: the GGUF file.
        target: existing folder to write into.
        progress: called with steps done and to do; steps take about as long as each other.

    Raises:
        CorruptWeightsError: the file is damaged or no GGUF file.
        ModelNotFoundError: an architecture that transformers cannot read from GGUF.
    """
    fields = read_header(file).fields
    stops = list(dict.fromkeys(int(fields[name]) for name in _STOP_FIELDS if name in fields))
    progress(0, _ALL)
    try:
        with no_progress_bars(), _no_bar_for_tensors():
            # In float32, so that what was quantised is rounded only once more, when it is saved.
            module = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
            progress(_READ, _ALL)
            _save_weights(module, stops, target)
            progress(_SAVED, _ALL)
            AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(target)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelNotFoundError(
            f"{file} cannot be converted: {error}", hint="Use the model's folder of safetensors instead."
        ) from error
    progress(_ALL, _ALL)


def _save_weights(module: Any, stops: Sequence[int], target: Path) -> None:  # noqa: ANN401  one class per family
    # What was quantised is not any more, and a configuration that says so would make loading fail.
    if hasattr(module.config, "quantization_config"):
        del module.config.quantization_config
    module.hf_quantizer = None
    if stops:  # a file for chat may name the end of a turn beside the end of the text
        module.generation_config.eos_token_id = stops[0] if len(stops) == 1 else list(stops)
    module.to(torch.bfloat16).save_pretrained(target)


@contextmanager
def _no_bar_for_tensors() -> Iterator[None]:
    """Takes away the progress bar that transformers always shows while it dequantises."""
    shown = getattr(reading, "tqdm", None)
    if shown is None:
        yield
        return
    reading.tqdm = lambda tensors, **_: tensors
    try:
        yield
    finally:
        reading.tqdm = shown

"""Finds the decoder blocks of any transformers causal language model, without a table of model names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from everlearn.errors import ModelNotFoundError

_HINT = "Choose a decoder-only text model such as the Llama, Qwen, Gemma, GPT-2, GPT-NeoX, OPT or Phi families."


def text_config(module: nn.Module) -> Any:  # noqa: ANN401  one class per family, without a common type
    """Returns the configuration of the text decoder, also of a model that sees or hears."""
    config: Any = module.config
    return config.get_text_config(decoder=True)


def find_blocks(module: nn.Module) -> Sequence[nn.Module]:
    """Returns the decoder blocks in order.

    They are the `nn.ModuleList` with one member per layer of the text configuration. Where several lists have that
    length (a list of norms, a vision tower as deep), the one with most weights inside the text decoder is taken.

    Args:
        module: a transformers causal language model.

    Raises:
        ModelNotFoundError: no such list, so this kind of model is not supported.
    """
    depth = int(text_config(module).num_hidden_layers)
    get_decoder: Any = getattr(module, "get_decoder", lambda: module)
    for root in (get_decoder(), module):
        lists = [m for m in root.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
        if lists:
            biggest: nn.ModuleList = max(lists, key=_weight_count)
            return list(biggest)
    raise ModelNotFoundError(
        f"{type(module).__name__} has no list of {depth} decoder blocks; everlearn cannot correct it.", hint=_HINT
    )


def hidden_of(output: Tensor | tuple[Any, ...]) -> Tensor:
    """Returns the hidden states [B, T, D] from what a block returned: a tensor, or a tuple that starts with it."""
    hidden = output if isinstance(output, Tensor) else output[0]
    assert isinstance(hidden, Tensor), f"a block returned {type(hidden).__name__} where hidden states were expected"
    return hidden


def _weight_count(blocks: nn.Module) -> int:
    return sum(p.numel() for p in blocks.parameters())

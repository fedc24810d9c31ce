"""Finds how a model turns its keys by their position, by trying: no table of model families.

One token is read at two positions. Alone, it attends to itself only, so at every block its keys differ by the turn
between the two positions and by nothing else. Of the frequencies that the model holds those are taken that explain it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from everlearn.errors import SettingsError
from everlearn.models.window import Turning

_APART = 11  # positions between the two readings: the fast pairs go round more than once, the slow ones hardly turn
_MOST_ERROR = {torch.float32: 1e-3, torch.float64: 1e-3}
_MOST_ERROR_HALF = 0.02  # bfloat16 has 8 bits, and each block adds its own rounding


@torch.inference_mode()
def find_turnings(module: nn.Module) -> tuple[Turning | None, ...]:
    """How the keys of each block are turned; None for a block whose keys hold no position.

    Args:
        module: a transformers causal language model whose cache is keys and values.

    Raises:
        SettingsError: positions are mixed into the keys in a way that cannot be undone, as learned positions are.
    """
    here, there = _keys_at(module, 0), _keys_at(module, _APART)
    frequencies = _frequencies(module)
    try:
        found = [_turning(a, b, frequencies) for a, b in zip(here, there, strict=True)]
    except _UnknownTurnError as cause:
        raise SettingsError(
            f"{type(module).__name__} mixes positions into its keys, so a window cannot roll over them.",
            hint="An unlimited conversation needs a model with rotary positions (Llama, Qwen, Gemma, Phi ...) or none.",
        ) from cause
    return tuple(found)


class _UnknownTurnError(Exception):
    """No frequencies of the model explain how its keys differ between two positions."""


def _keys_at(module: nn.Module, position: int) -> list[Tensor | None]:
    """Keys [1, G, 1, C] of each block for one token at a position; None for a block without keys of its own."""
    device = next(module.parameters()).device
    cache = DynamicCache()
    arguments: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if "position_ids" not in inspect.signature(module.forward).parameters:
        return _last_keys(module, cache, position, device)
    arguments["position_ids"] = torch.tensor([[position]], device=device)
    module(input_ids=torch.ones(1, 1, dtype=torch.long, device=device), **arguments)
    return [layer.keys if layer.is_initialized else None for layer in cache.layers]


def _last_keys(module: nn.Module, cache: DynamicCache, position: int, device: torch.device) -> list[Tensor | None]:
    """The same where positions cannot be given: the token stands behind others like it, which all mean the same."""
    module(
        input_ids=torch.ones(1, position + 1, dtype=torch.long, device=device), past_key_values=cache, use_cache=True
    )
    return [layer.keys[:, :, -1:] if layer.is_initialized else None for layer in cache.layers]


def _frequencies(module: nn.Module) -> list[Tensor]:
    """All different frequencies [F] that the model turns with, biggest tables first."""
    found: list[Tensor] = []
    for name, buffer in module.named_buffers():
        if name.endswith("inv_freq") and not any(torch.equal(buffer, each) for each in found):
            found.append(buffer.detach().float())
    return sorted(found, key=len, reverse=True)


def _turning(here: Tensor | None, there: Tensor | None, frequencies: list[Tensor]) -> Turning | None:
    """How `here` became `there`: None = not at all."""
    if here is None or there is None or _error(here, there) <= 0.0:
        return None
    tried = [(_error(each.moved(here, _APART), there), n, each) for n, each in enumerate(_tries(here, frequencies))]
    error, _, best = min(tried, default=(float("inf"), 0, None), key=lambda each: each[:2])
    most = _MOST_ERROR.get(here.dtype, _MOST_ERROR_HALF)
    if error <= most:
        return best
    if _error(here, there) > most:
        raise _UnknownTurnError
    return None


def _tries(keys: Tensor, frequencies: list[Tensor]) -> Iterator[Turning]:
    width = keys.shape[-1]
    for table in frequencies:
        free = width - 2 * len(table)
        for first in dict.fromkeys((0, free)) if free >= 0 else ():
            for interleaved in (False, True):
                yield Turning(table.to(keys.device), first, interleaved)


def _error(got: Tensor, wanted: Tensor) -> float:
    """Distance relative to the size."""
    return float((got.float() - wanted.float()).norm() / wanted.float().norm().clamp_min(1e-12))

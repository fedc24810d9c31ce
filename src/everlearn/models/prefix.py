"""Rows that begin with the same tokens: the beginning is read once, with a gradient like the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from everlearn.models.base import BaseModel


def logits_behind(model: BaseModel, prefix: list[int], ids: Tensor, mask: Tensor, steps: int) -> Tensor:
    """Logits of rows that all stand behind one prefix. Equal to reading each row whole, up to rounding.

    Chat templates begin every prompt with the same system message; of a short question that is half of all tokens.

    Args:
        model: computes; all rows with the same adapter, or none.
        prefix: [P] token ids, P > 0.
        ids: [B, T] long, what comes behind it, padded on the left.
        mask: [B, T] long, 1 for real tokens.
        steps: S, how many of the last places to return: [B, S, V] in the model's number format.
    """
    rows, device = ids.shape[0], ids.device
    held = DynamicCache()
    once = torch.tensor([prefix], device=device)
    model.module(
        input_ids=once, past_key_values=held, **_arguments(model, torch.arange(len(prefix), device=device)[None], 1)
    )
    for layer in held.layers:
        if layer.is_initialized:  # a view for each row: their gradients add up where the prefix was read
            layer.keys, layer.values = (t.expand(rows, -1, -1, -1) for t in (layer.keys, layer.values))
    seen = torch.cat([torch.ones((rows, len(prefix)), dtype=mask.dtype, device=device), mask], dim=1)
    places = len(prefix) + (mask.cumsum(1) - 1).clamp(min=0)
    arguments = _arguments(model, places, steps)
    logits: Tensor = model.module(input_ids=ids, attention_mask=seen, past_key_values=held, **arguments).logits
    return logits[:, -steps:]


def _arguments(model: BaseModel, places: Tensor, keep: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"use_cache": True}
    if model.takes("position_ids"):
        arguments["position_ids"] = places
    if model.takes("logits_to_keep"):
        arguments["logits_to_keep"] = keep
    return arguments

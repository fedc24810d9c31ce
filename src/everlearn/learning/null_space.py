"""Room where an adapter can learn without being heard elsewhere: the directions that unrelated text hardly uses.

A layer adds B A x to its output. Where the rows of A stand at right angles to the inputs x that unrelated text brings,
nothing is added there, whatever is learned. Inputs of a layer lie mostly in few directions, so much room is left.

Source: Wang et al. 2021, Training networks in null space of feature covariance, arXiv 2103.07113, section 3 (updates of
Adam are projected); for low-rank adapters Tang et al. 2025, LoRA-Null, arXiv 2503.02659, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from everlearn.learning.examples import Encoded
from everlearn.learning.losses import batch_of
from everlearn.models.base import BaseModel

Progress = Callable[[int, int], None]
_BATCH = 16


@torch.inference_mode()
def input_covariances(
    model: BaseModel,
    layers: Mapping[str, nn.Module],
    rows: Sequence[Encoded],
    *,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """How the inputs of layers spread over their directions while the bare base model reads rows.

    Args:
        model: computes; adapters are off.
        layers: by name.
        rows: prompts with answers; every real token counts the same.
        progress: called with (rows done, all).

    Returns:
        For each layer the mean of x x^T over tokens, [K, K] float32, K its input width.
    """
    sums: dict[str, Tensor] = {}
    tokens = 0
    for first in range(0, len(rows), _BATCH):
        batch = batch_of(rows[first : first + _BATCH], model.device)
        real = batch.mask.bool()
        tokens += int(real.sum())
        with model.lock, ExitStack() as stack:
            for name, layer in layers.items():
                handle = layer.register_forward_pre_hook(_adder(sums, name, real))
                stack.callback(handle.remove)
            model.logits_of_last(batch.ids, batch.mask, (batch.mask.cumsum(1) - 1).clamp(min=0), 1)
        if progress is not None:
            progress(min(first + _BATCH, len(rows)), len(rows))
    return {name: total / tokens for name, total in sums.items()}


def null_space(covariance: Tensor, share: float) -> Tensor:
    """The projection [K, K] onto the directions that are used least.

    Args:
        covariance: [K, K] float32, as `input_covariances` gives it.
        share: of the K directions that are left, above 0, at most 1.
    """
    _, directions = torch.linalg.eigh(covariance)  # from the least used to the most
    least = directions[:, : max(1, round(share * len(covariance)))]
    projection: Tensor = least @ least.T
    return projection


def confinement(
    parameters: Mapping[str, nn.Parameter], covariances: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The projection for each weight of an adapter that reads inputs (its factor A), by the weight's name.

    Args:
        parameters: of the adapter.
        covariances: of the layers it is laid over, by their names.
        share: as in `null_space`.
    """
    known: dict[int, Tensor] = {}
    found = {}
    for name in parameters:
        layer, mark, _ = name.partition(".lora_A.")
        if mark:
            covariance = covariances[layer.removeprefix("base_model.model.")]
            if id(covariance) not in known:
                known[id(covariance)] = null_space(covariance, share)
            found[name] = known[id(covariance)]
    return found


@torch.no_grad()
def confine(parameters: Mapping[str, nn.Parameter], projections: Mapping[str, Tensor]) -> None:
    """Take out of weights what lies outside their projections."""
    for name, projection in projections.items():
        parameter = parameters[name]
        parameter.copy_((parameter.float() @ projection).to(parameter.dtype))


def _adder(sums: dict[str, Tensor], name: str, real: Tensor) -> Callable[[nn.Module, Any], None]:
    def add(_layer: nn.Module, args: Any) -> None:  # noqa: ANN401
        inputs = args[0][real].float()
        sums[name] = sums.get(name, torch.zeros(())).to(inputs.device) + inputs.T @ inputs

    return add

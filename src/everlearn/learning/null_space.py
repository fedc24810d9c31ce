"""Room where an adapter can learn without being heard elsewhere: the directions that unrelated text hardly uses.

A layer adds B A x to its output. Where the rows of A stand at right angles to the inputs x that unrelated text brings,
nothing is added there, whatever is learned. Inputs of a layer lie mostly in few directions, so much room is left.

Source: Wang et al. 2021, Training networks in null space of feature covariance, arXiv 2103.07113, section 3 (updates of
Adam are projected); for low-rank adapters Tang et al. 2025, LoRA-Null, arXiv 2503.02659, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from torch import Tensor, nn

from everlearn.learning.examples import Encoded
from everlearn.learning.losses import batch_of
from everlearn.learning.weights import AdapterWeights
from everlearn.models.base import BaseModel

Progress = Callable[[int, int], None]
_BATCH = 16
_MARK = ".lora_A."


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
        For each layer that was run the mean of x x^T over tokens, [K, K] float32, K its input width; layers that read
        the same tensor share one.
    """
    sums = _Sums()
    tokens = 0
    for first in range(0, len(rows), _BATCH):
        batch = batch_of(rows[first : first + _BATCH], model.device)
        real = batch.mask.bool()
        tokens += int(real.sum())
        with model.lock, ExitStack() as stack:
            for name, layer in layers.items():
                handle = layer.register_forward_pre_hook(sums.adder(name, real))
                stack.callback(handle.remove)
            model.logits_of_last(batch.ids, batch.mask, (batch.mask.cumsum(1) - 1).clamp(min=0), 1)
        if progress is not None:
            progress(min(first + _BATCH, len(rows)), len(rows))
    means = {name: total.div_(tokens) for name, total in sums.totals.items()}
    return {name: means[sums.same.get(name, name)] for name in (*means, *sums.same)}


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


def read_layers(weights: AdapterWeights) -> dict[str, nn.Module]:
    """The layers that an adapter is laid over, by their full names."""
    names = dict.fromkeys(_layer(name) for name in weights.parameters() if _MARK in name)
    return {name: weights.model.module.get_submodule(name) for name in names}


def confinement(
    parameters: Mapping[str, nn.Parameter], covariances: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The projection for each weight of an adapter that reads inputs (its factor A), by the weight's name.

    Args:
        parameters: of the adapter.
        covariances: of the layers it is laid over, by their names; they are taken out, since both together need twice
            the room. A layer that has none (an expert that was never chosen) is not confined.
        share: as in `null_space`.
    """
    alike: dict[int, list[str]] = {}
    for name in parameters:
        if _MARK in name and _layer(name) in covariances:
            alike.setdefault(id(covariances[_layer(name)]), []).append(name)
    found = {}
    for names in alike.values():
        taken = [covariances.pop(_layer(name)) for name in names]
        projection = null_space(taken[0], share)
        found.update(dict.fromkeys(names, projection))
    return found


@torch.no_grad()
def confine(parameters: Mapping[str, nn.Parameter], projections: Mapping[str, Tensor]) -> None:
    """Take out of weights what lies outside their projections."""
    for name, projection in projections.items():
        parameter = parameters[name]
        parameter.copy_((parameter.float() @ projection).to(parameter.dtype))


def _layer(parameter: str) -> str:
    """The layer that a factor A belongs to."""
    return parameter.partition(_MARK)[0].removeprefix("base_model.model.")


@final
class _Sums:
    """Sums of x x^T by layer; `same`: a layer -> another one that reads the very same tensor and is summed for both."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.same: dict[str, str] = {}
        self._last: tuple[str, Any] = ("", None)

    def adder(self, name: str, real: Tensor) -> Callable[[nn.Module, Any], None]:
        """A hook that adds a layer's inputs; `real` [B, T] says which tokens are no padding."""

        def add(_module: nn.Module, args: Any) -> None:  # noqa: ANN401
            first, inputs = self._last
            if inputs is args[0] and (name not in self.totals):
                self.same[name] = first
                return
            self._last = (name, args[0])
            rows = args[0].flatten(0, -2)  # OPT flattens before its MLP
            if len(rows) == real.numel():  # an expert sees a part of the tokens only
                rows = rows[real.flatten()]
            rows = rows.float()
            total = self.totals.get(name)
            self.totals[name] = rows.T @ rows if total is None else total.add_(rows.T @ rows)

        return add

"""What a trainer changes: an adapter over a frozen base, or all weights of a model of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters


class TrainableWeights(Protocol):
    """Weights that are trained, by stable names, and the model that they belong to."""

    @property
    def model(self) -> BaseModel:
        """The model."""
        ...

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The weights themselves."""
        ...

    def on(self) -> Any:  # noqa: ANN401
        """A block in which the model computes with them and they collect gradients; its lock is held."""
        ...


@final
class AdapterWeights:
    """The weights of a loaded adapter.

    Args:
        adapters: where it is loaded.
        adapter_id: which one.
    """

    def __init__(self, adapters: Adapters, adapter_id: str) -> None:
        self.adapters, self.adapter_id = adapters, adapter_id

    @property
    def model(self) -> BaseModel:
        """The base model under it."""
        return self.adapters.model

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Its two factors at every layer."""
        return self.adapters.parameters(self.adapter_id)

    @contextmanager
    def on(self) -> Iterator[None]:
        """The adapter speaks in every row and collects gradients."""
        with self.adapters.training(self.adapter_id):
            yield


@final
class FullWeights:
    """All weights of a model, which nobody else may use meanwhile.

    Args:
        model: is changed.
    """

    def __init__(self, model: BaseModel) -> None:
        self._model = model

    @property
    def model(self) -> BaseModel:
        """The model."""
        return self._model

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Every weight, those shared under two names once."""
        return dict(self._model.module.named_parameters())

    @contextmanager
    def on(self) -> Iterator[None]:
        """All weights collect gradients."""
        with self._model.lock:
            try:
                self._model.module.requires_grad_(True)
                yield
            finally:
                self._model.module.requires_grad_(False)


def copied(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """A copy of weights, where they are."""
    return {name: p.detach().clone() for name, p in parameters.items()}


@torch.no_grad()
def put_back(parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor]) -> None:
    """Set weights to what `copied` gave."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])

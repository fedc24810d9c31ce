"""Numbers that heads with a state begin with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spread(count: int, least: float, most: float) -> Tensor:
    """Returns [count] numbers from least to most, evenly in their logarithms: heads begin with spans of all lengths."""
    steps = torch.linspace(0, 1, count, device="cpu") if count > 1 else torch.full((1,), 0.5, device="cpu")
    return torch.exp(steps * math.log(most / least)) * least


def inverse_softplus(x: Tensor) -> Tensor:
    """Returns y with softplus(y) = x."""
    return x + torch.log(-torch.expm1(-x))

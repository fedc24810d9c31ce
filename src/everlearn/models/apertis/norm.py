"""RMSNorm, plain and gated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name


class RMSNorm(nn.Module):
    """x / rms(x) * weight, over the last dimension.

    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns [..., width] in the number format of x."""
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class GatedRMSNorm(RMSNorm):
    """RMSNorm, then times SiLU of a gate: how heads with a state leave their layer."""

    def gated(self, x: Tensor, gate: Tensor) -> Tensor:
        """Returns [..., width]; gate has the shape of x."""
        left: Tensor = self(x) * F.silu(gate)
        return left


def naive_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm as it is written on paper."""
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight

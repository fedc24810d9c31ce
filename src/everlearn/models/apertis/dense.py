"""MLP kind `dense`: SwiGLU."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.activations import ACT2FN

from everlearn.models.apertis.configuration import ApertisConfig


class ApertisMLP(nn.Module):
    """down(act(gate(x)) * up(x)); named as in Llama.

    Source: Shazeer 2020, GLU Variants Improve Transformer.
    """

    def __init__(self, config: ApertisConfig, width: int | None = None) -> None:
        super().__init__()
        inner = width or config.intermediate_size
        self.gate_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.down_proj = nn.Linear(inner, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Returns [..., D]."""
        mixed: Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return mixed

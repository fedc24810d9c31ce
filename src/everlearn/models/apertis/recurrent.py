"""Kind `recurrent`: the state-tracking cell. A constant state, fast on a CPU, that can follow what alternates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.convolution import causal_convolution
from everlearn.models.apertis.norm import GatedRMSNorm
from everlearn.models.apertis.recurrence import CellInputs, bounded, cell_step, recurrence
from everlearn.models.apertis.states import StateLayer, in_segments

_FORGET = 1e-13  # what is left of a state where another text begins; not 0, since its logarithm is taken


class ApertisRecurrentCell(nn.Module):
    """Heads with a state [N, P] each, whose factor a in (-1, 1) is told by the token.

    What is written is scaled by sqrt(1 - a^2), so that a state stays as large as its inputs; a factor
    of -1 only turns it.

    Source: see `recurrence`; the scale as in De et al. 2024, Griffin, section 2.4.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        self.heads, self.width = config.recurrent_num_heads, config.recurrent_head_dim
        self.state_width = config.recurrent_state_dim
        inner = self.heads * self.width
        mixed = inner + 2 * self.state_width
        self.in_proj = nn.Linear(config.hidden_size, mixed + inner, bias=False)
        self.factor_proj = nn.Linear(config.hidden_size, self.heads, bias=False)
        self.factor_bias = nn.Parameter(torch.empty(self.heads))
        self.skip = nn.Parameter(torch.empty(self.heads))
        self.conv1d = nn.Conv1d(mixed, mixed, config.linear_conv_kernel_dim, groups=mixed, bias=False)
        self.norm = GatedRMSNorm(self.width, config.rms_norm_eps)
        self.out_proj = nn.Linear(inner, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        padding: Tensor | None = None,
        starts: Tensor | None = None,
        cache: StateLayer | None = None,
    ) -> Tensor:
        """Mixes tokens; arguments and result as in `linear`."""
        return in_segments(self._read, hidden_states, padding, starts, cache)

    def _read(
        self, hidden_states: Tensor, before: tuple[Tensor, ...], starts: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Reads [B, T, D] after the inputs of the convolution and the state that `before` holds."""
        rows, tokens, _ = hidden_states.shape
        inner = self.heads * self.width
        mixed, gate = self.in_proj(hidden_states).split((inner + 2 * self.state_width, inner), dim=-1)
        mixed, inputs = causal_convolution(mixed, self.conv1d.weight, before[0] if before else None, starts)
        cell, plain = self._cell_inputs(mixed, hidden_states)
        if starts is not None:
            cell = cell._replace(factor=cell.factor.masked_fill(starts[..., None], _FORGET))
        state = before[1] if before else cell.query.new_zeros(rows, self.heads, self.state_width, self.width)
        with torch.autocast(hidden_states.device.type, enabled=False):  # a state adds up rounding errors
            output, state = (cell_step if tokens == 1 else recurrence)(cell, state)
        output = output + plain * self.skip.float()[:, None]
        output = self.norm.gated(output.to(hidden_states.dtype), gate.unflatten(-1, (self.heads, -1)))
        return self.out_proj(output.flatten(2)), (inputs, state)

    def _cell_inputs(self, mixed: Tensor, hidden_states: Tensor) -> tuple[CellInputs, Tensor]:
        """Returns what the cell reads, and the values [B, T, H, P] as they came."""
        sizes = (self.heads * self.width, self.state_width, self.state_width)
        value, key, query = mixed.float().split(sizes, dim=-1)
        value = value.unflatten(-1, (self.heads, -1))
        factor = bounded(torch.tanh(self.factor_proj(hidden_states).float() + self.factor_bias.float()))
        scale = (1 - factor.square()).clamp(min=1e-6).sqrt()
        return CellInputs(query * self.state_width**-0.5, key, value * scale[..., None], factor), value

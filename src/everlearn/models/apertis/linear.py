"""Kind `linear`: the gated delta rule as a layer. Time grows with the tokens, memory not at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from everlearn.models.apertis.configuration import ApertisConfig
from everlearn.models.apertis.convolution import causal_convolution
from everlearn.models.apertis.delta_rule import DeltaInputs, delta_rule, delta_step
from everlearn.models.apertis.norm import GatedRMSNorm
from everlearn.models.apertis.states import StateLayer, in_segments

_FORGET = -30.0  # logarithm of what is left of a state where another text begins


class ApertisDeltaNet(nn.Module):
    """Gated DeltaNet; projections are laid out and named as in Qwen3-Next, so that weights can be exchanged.

    Source: Yang, Kautz and Hatamizadeh 2024, Gated Delta Networks.
    """

    def __init__(self, config: ApertisConfig) -> None:
        super().__init__()
        self.keys, self.values = config.linear_num_key_heads, config.linear_num_value_heads
        self.key_width, self.value_width = config.linear_key_head_dim, config.linear_value_head_dim
        mixed = 2 * self.keys * self.key_width + self.values * self.value_width
        self.in_proj_qkvz = nn.Linear(config.hidden_size, mixed + self.values * self.value_width, bias=False)
        self.in_proj_ba = nn.Linear(config.hidden_size, 2 * self.values, bias=False)
        self.conv1d = nn.Conv1d(mixed, mixed, config.linear_conv_kernel_dim, groups=mixed, bias=False)
        self.dt_bias = nn.Parameter(torch.empty(self.values))
        self.A_log = nn.Parameter(torch.empty(self.values))
        self.norm = GatedRMSNorm(self.value_width, config.rms_norm_eps)
        self.out_proj = nn.Linear(self.values * self.value_width, config.hidden_size, bias=False)

    def forward(
        self,
        hidden_states: Tensor,
        padding: Tensor | None = None,
        starts: Tensor | None = None,
        cache: StateLayer | None = None,
    ) -> Tensor:
        """Mixes tokens.

        Args:
            hidden_states: [B, T, D].
            padding: [B, S] bool, False for padding; the last T places are those of hidden_states.
            starts: [B, T] bool, True where another text begins in the row: nothing of those before is remembered.
            cache: the state after what was read before; replaced.

        Returns:
            [B, T, D].
        """
        return in_segments(self._read, hidden_states, padding, starts, cache)

    def _read(
        self, hidden_states: Tensor, before: tuple[Tensor, ...], starts: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Reads [B, T, D] after the inputs of the convolution and the state that `before` holds."""
        rows, tokens, _ = hidden_states.shape
        mixed, gate, beta, decay = self._projected(hidden_states)
        mixed, inputs = causal_convolution(mixed, self.conv1d.weight, before[0] if before else None, starts)
        if starts is not None:
            decay = decay.masked_fill(starts[..., None], _FORGET)
        rule = self._rule_inputs(mixed, decay, beta)
        shape = (rows, self.values, self.key_width, self.value_width)
        state = before[1] if before else rule.query.new_zeros(shape)
        with torch.autocast(hidden_states.device.type, enabled=False):  # a state adds up rounding errors
            output, state = (delta_step if tokens == 1 else delta_rule)(rule, state)
        output = self.norm.gated(output.to(hidden_states.dtype), gate)
        return self.out_proj(output.flatten(2)), (inputs, state)

    def _projected(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns queries, keys and values in one [B, T, F], the gate [B, T, H, V], beta and decay [B, T, H]."""
        share = self.values // self.keys
        wide = share * self.value_width
        heads = self.in_proj_qkvz(hidden_states).unflatten(-1, (self.keys, -1))
        query, key, value, gate = heads.split((self.key_width, self.key_width, wide, wide), dim=-1)
        beta, step = self.in_proj_ba(hidden_states).unflatten(-1, (self.keys, -1)).chunk(2, dim=-1)
        mixed = torch.cat((query.flatten(2), key.flatten(2), value.flatten(2)), dim=-1)
        gate = gate.reshape(*gate.shape[:2], self.values, self.value_width)
        decay = -self.A_log.float().exp() * F.softplus(step.flatten(2).float() + self.dt_bias.float())
        return mixed, gate, beta.flatten(2).float().sigmoid(), decay

    def _rule_inputs(self, mixed: Tensor, decay: Tensor, beta: Tensor) -> DeltaInputs:
        narrow = self.keys * self.key_width
        query, key, value = mixed.float().split((narrow, narrow, self.values * self.value_width), dim=-1)
        query, key = (unit(x.unflatten(-1, (self.keys, -1))) for x in (query, key))
        share = self.values // self.keys
        if share > 1:
            query, key = query.repeat_interleave(share, dim=2), key.repeat_interleave(share, dim=2)
        return DeltaInputs(
            query * self.key_width**-0.5, key, value.unflatten(-1, (self.values, -1)), decay=decay, beta=beta
        )


def unit(x: Tensor) -> Tensor:
    """Returns x at unit length; zeros stay zeros."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)

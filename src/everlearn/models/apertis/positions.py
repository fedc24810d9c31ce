"""Where a token stands: rotations (RoPE and its interpolations), grouped positions, and ALiBi."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update

from everlearn.models.apertis.configuration import ApertisConfig


class RotaryEmbedding(nn.Module):
    """Cosine and sine of the angles by which queries and keys are rotated.

    Source: Su et al. 2021, RoFormer; Chen et al. 2023, Position Interpolation (linear); Peng et al. 2023, YaRN.
    """

    inv_freq: Tensor

    def __init__(self, config: ApertisConfig, width: int) -> None:
        """Makes the frequencies for heads of which the first `width` numbers rotate together."""
        super().__init__()
        self.config = copy.copy(config)  # transformers' formulas read the width from head_dim
        self.config.head_dim = width
        self.rope_type = config.rope_parameters["rope_type"]
        self.group = config.position_group
        self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
        inv_freq, self.attention_scaling = self._frequencies()
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.register_buffer("original_inv_freq", inv_freq.clone(), persistent=False)

    def _frequencies(self) -> tuple[Tensor, float]:
        formula = ROPE_INIT_FUNCTIONS.get(self.rope_type, self.compute_default_rope_parameters)
        made: tuple[Tensor, float] = formula(self.config)
        return made

    @staticmethod
    def compute_default_rope_parameters(config: Any, *_: Any, **__: Any) -> tuple[Tensor, float]:  # noqa: ANN401
        """Returns theta ^ (-2i / width) [width / 2] and no scaling; transformers looks for this name."""
        share = config.rope_parameters.get("partial_rotary_factor") or 1.0
        width = int(config.head_dim * share)
        steps = torch.arange(0, width, 2, dtype=torch.float) / width
        return torch.pow(config.rope_parameters["rope_theta"], -steps), 1.0

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosine and sine [B, T, width] in the number format of x.

        Args:
            x: any tensor of the model.
            position_ids: [B, T] long, place of each token in its text.
        """
        places = torch.div(position_ids, self.group, rounding_mode="floor")
        angles = places[..., None].float() * self.inv_freq.to(x.device, torch.float)
        both = torch.cat((angles, angles), dim=-1)
        return (both.cos() * self.attention_scaling).to(x.dtype), (both.sin() * self.attention_scaling).to(x.dtype)


def count_positions(embeds: Tensor, attention_mask: Tensor | None, cache: Cache | None) -> Tensor:
    """Returns [B or 1, T]: how many real tokens stand before each one."""
    count = embeds.shape[1]
    if attention_mask is not None and attention_mask.ndim == 2:
        return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -count:]
    seen = cache.get_seq_length() if cache is not None else 0
    return (torch.arange(count, device=embeds.device) + seen)[None]


def text_starts(position_ids: Tensor) -> Tensor | None:
    """Returns [B, T] bool, True where a position does not follow the one before; None where all do."""
    starts = torch.diff(position_ids, prepend=position_ids[:, :1] - 1, dim=-1) != 1
    return starts if bool(starts.any()) else None


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the first numbers of each head, as many as there are angles.

    Args:
        x: [B, H, T, C].
        cos: [B, T, width], width at most C.
        sin: [B, T, width].
    """
    cos, sin = cos[:, None], sin[:, None]
    width = cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    first, second = turned.chunk(2, dim=-1)
    rotated = turned * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((rotated, rest), dim=-1) if rest.shape[-1] else rotated


def naive_rotate(x: Tensor, positions: Tensor, theta: float) -> Tensor:
    """Rotates [T, C] pair by pair as complex numbers; pairs are (i, i + C/2)."""
    half = x.shape[-1] // 2
    pairs = torch.complex(x[:, :half].double(), x[:, half:].double())
    angles = positions[:, None] * theta ** (-torch.arange(half, dtype=torch.double) / half)
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)


def alibi_slopes(heads: int) -> Tensor:
    """Returns [H]: how much each head loses for each token of distance.

    Source: Press et al. 2021, Train Short, Test Long, section 3; other counts than powers of two as in its code.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (n + 1) / power) for n in range(power)]
    slopes += [2 ** (-4 * (2 * n + 1) / power) for n in range(heads - power)]
    return torch.tensor(slopes)


def alibi_mask(heads: int, visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns what is added to the scores [B, H, T, S]: -slope * distance, and the lowest number where nothing is seen.

    Args:
        heads: H.
        visible: [B, 1, T, S] bool; the last T of S places are those of the queries.
        dtype: number format of the scores.
    """
    queries, keys = visible.shape[-2:]
    device = visible.device
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    bias = -alibi_slopes(heads).to(device)[:, None, None] * distance.clamp(min=0)
    return bias.to(dtype).masked_fill(~visible, torch.finfo(dtype).min)

"""Sinks and a rolling window: a cache of constant size for a conversation without an end.

The first tokens (sinks) stay, since every later token was trained to lay the attention on them that it does not need;
of the others the newest stay. A token's position is its place in the cache, so the model never sees a distance that it
was not trained on. What has left the window is forgotten: this makes a stream endless, it does not make the context
longer.

Source: Xiao et al. 2024, Efficient Streaming Language Models with Attention Sinks, section 3.2 (arXiv 2309.17453).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from everlearn.errors import SettingsError

SINKS = 4
BLOCKS = 8  # a window drops an eighth at a time
LARGEST = 4096  # tokens, where nobody says how many
LEAST = 32


@final
@dataclass(frozen=True, slots=True)
class Turning:
    """How the keys of a block are turned by their position (rotary embedding).

    Attributes:
        frequencies: [F] float32, radians by which a position turns each pair of coordinates.
        first: where the turned coordinates begin; those outside [first, first + 2 F) are not turned.
        interleaved: pairs are neighbours (0,1), (2,3); else they are (0,F), (1,F+1).
    """

    frequencies: Tensor
    first: int
    interleaved: bool

    def moved(self, keys: Tensor, by: int) -> Tensor:
        """Keys [B, G, T, C] as they would be `by` positions further on; computed in float32."""
        angles = self.frequencies * by
        end = self.first + 2 * len(angles)
        turned = keys[..., self.first : end].float()
        a, b = (turned[..., 0::2], turned[..., 1::2]) if self.interleaved else turned.chunk(2, -1)
        cos, sin = angles.cos(), angles.sin()
        pair = (a * cos - b * sin, a * sin + b * cos)
        turned = torch.stack(pair, -1).flatten(-2) if self.interleaved else torch.cat(pair, -1)
        return torch.cat([keys[..., : self.first], turned.to(keys.dtype), keys[..., end:]], -1)


@final
@dataclass(frozen=True, slots=True)
class RollingWindow:
    """The first `sinks` tokens and the newest others, `capacity` together at most.

    Whenever it is full, the oldest `block` tokens behind the sinks go at once. So which tokens are held follows from
    how many were read, and from nothing else.

    Attributes:
        capacity: tokens that a row holds at most.
        sinks: tokens at the begin that never go.
        block: tokens that go at once.
        turnings: of each block's keys; None where they hold no position.
    """

    capacity: int
    sinks: int
    block: int
    turnings: tuple[Turning | None, ...]

    def dropped_at(self, read: int) -> int:
        """Tokens that have gone when `read` tokens were read, as few as may be."""
        return -(-max(0, read - self.capacity) // self.block) * self.block

    def rolled(self, layer: int, pair: Sequence[Tensor]) -> Sequence[Tensor]:
        """Keys and values [B, G, T, C] of a block without its oldest tokens behind the sinks."""
        if not pair:
            return pair
        keys, values = pair
        turning, kept = self.turnings[layer], self.sinks + self.block
        newer = keys[:, :, kept:]
        if turning is not None:
            newer = turning.moved(newer, -self.block)
        return (
            torch.cat([keys[:, :, : self.sinks], newer], 2),
            torch.cat([values[:, :, : self.sinks], values[:, :, kept:]], 2),
        )


def window_of(
    turnings: tuple[Turning | None, ...], context_length: int, tokens: int | None = None, sinks: int = SINKS
) -> RollingWindow:
    """A window of so many tokens, sinks included.

    Args:
        turnings: of each block, as `find_turnings` gives them.
        context_length: of the model.
        tokens: how many are held at most; None = what the model reads, but at most 4,096.
        sinks: how many of the first stay.

    Raises:
        SettingsError: more than the model reads, or too few to answer with.
    """
    capacity = min(context_length, LARGEST) if tokens is None else tokens
    if not LEAST <= capacity <= context_length:
        raise SettingsError(
            f"The window is {capacity:,} tokens, wanted {LEAST} to {context_length:,}.",
            hint="A model cannot look back further than it was trained to; 0 chooses the size itself.",
        )
    if not 0 <= sinks <= capacity // 2:
        raise SettingsError(f"There are {sinks} sinks in a window of {capacity}.", hint="4 is usual.")
    return RollingWindow(capacity, sinks, max(1, (capacity - sinks) // BLOCKS), turnings)

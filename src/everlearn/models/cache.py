"""The attention cache: keys and values of every block, for one or several rows of different length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from everlearn.models.window import RollingWindow


@final
class KeyValueCache:
    """Keys and values of what has been read so far.

    It wraps a `DynamicCache` made without a configuration: then layers with a sliding window keep all keys as well, and
    the attention mask makes the window. So a cache can be cut back to any length, which a rolling window could not.

    Rows of different length are padded on the left; padding is masked, and positions count real tokens.

    A row with a window holds a constant number of tokens at most: `roll` drops the oldest behind its sinks.

    Args:
        rows: how many sequences.
        window: of each row; None = all tokens are kept.

    Attributes:
        lengths: real tokens of each row that are held.
        dropped: tokens of each row that have left its window.
        windows: of each row; None = it keeps all tokens.
    """

    def __init__(self, rows: int = 1, window: RollingWindow | None = None) -> None:
        self.lengths: list[int] = [0] * rows
        self.dropped: list[int] = [0] * rows
        self.windows: list[RollingWindow | None] = [window] * rows
        self.keys_and_values = DynamicCache()

    @property
    def rows(self) -> int:
        """How many sequences it holds."""
        return len(self.lengths)

    @property
    def width(self) -> int:
        """Tokens of the longest row, which is what every row takes up in the tensors."""
        return max(self.lengths, default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values, padding included."""
        layers = range(len(self.keys_and_values.layers))
        return sum(t.numel() * t.element_size() for layer in layers for t in self._pair(layer))

    @property
    def padded(self) -> bool:
        """Whether any row is shorter than the longest one."""
        return min(self.lengths, default=0) != self.width

    def positions(self, count: int, device: torch.device) -> Tensor:
        """Returns the positions [B, T] of the next `count` tokens; [1, T] where all rows are equally long."""
        starts = self.lengths if self.padded else self.lengths[:1]
        return torch.tensor(starts, device=device)[:, None] + torch.arange(count, device=device)

    def mask(self, count: int, device: torch.device) -> Tensor | None:
        """Returns 1 for real and 0 for padding tokens [B, width + count], or None where there is no padding."""
        if not self.padded:
            return None
        pads = torch.tensor([self.width - length for length in self.lengths], device=device)
        return (torch.arange(self.width + count, device=device) >= pads[:, None]).long()

    def grow(self, rows: int, count: int) -> None:
        """Records that `count` tokens were appended to each row; an empty cache takes on `rows` rows."""
        if self.width == 0 and rows != self.rows:
            self.lengths, self.dropped, self.windows = [0] * rows, [0] * rows, self.windows[:1] * rows
        assert rows == self.rows, f"{rows} rows were appended to a cache of {self.rows}"
        self.lengths = [length + count for length in self.lengths]

    @property
    def read(self) -> int:
        """Tokens that were read into the only row, those included that have left its window."""
        assert self.rows == 1, "rows of different length"
        return self.lengths[0] + self.dropped[0]

    def skip(self, tokens: int) -> None:
        """Counts tokens behind the sinks as read and gone, for a text of which only the last window is to be read."""
        self.dropped = [dropped + tokens for dropped in self.dropped]

    @property
    def room(self) -> int | None:
        """Tokens that can be read before a row has to roll; None where no row has a window."""
        rooms = [w.capacity - n for w, n in zip(self.windows, self.lengths, strict=True) if w is not None]
        return min(rooms, default=None)

    def roll(self) -> None:
        """Drops the oldest tokens behind the sinks of each row that is full, and moves the others up.

        Positions are places in the cache: keys of tokens that move up are turned to where they stand now.
        """
        full = [n for n, w in enumerate(self.windows) if w is not None and self.lengths[n] >= w.capacity]
        if not full:
            return
        if self.rows > 1:
            parts = self.split()
            for row in full:
                parts[row].roll()
            whole = KeyValueCache.merge(parts)
            self.lengths, self.dropped, self.keys_and_values = whole.lengths, whole.dropped, whole.keys_and_values
            return
        window = self.windows[0]
        assert window is not None
        rolled = KeyValueCache()
        for layer in range(len(self.keys_and_values.layers)):
            rolled._put(window.rolled(layer, self._pair(layer)))
        self.keys_and_values = rolled.keys_and_values
        self.lengths, self.dropped = [self.lengths[0] - window.block], [self.dropped[0] + window.block]

    def crop(self, length: int) -> None:
        """Keeps the first `length` tokens of the only row."""
        assert self.rows == 1, "only a cache of one row can be cropped"
        assert 0 <= length <= self.width, f"cannot crop {self.width} tokens to {length}"
        if length == 0:
            self.keys_and_values = DynamicCache()
        elif length < self.width:
            # A copy, since a view would keep the bytes of the tokens that are gone.
            self._replace(lambda t: t[:, :, :length].clone())
        self.lengths = [length]

    def copy(self) -> KeyValueCache:
        """Returns an independent cache of the same content; tensors are shared, since none is written in place."""
        return self._like(range(self.rows), self.lengths, lambda t: t)

    def select(self, rows: Sequence[int]) -> None:
        """Keeps only these rows, in this order, and drops padding that no row needs any more."""
        lengths = [self.lengths[row] for row in rows]
        first = self.width - max(lengths, default=0)
        self._replace(lambda t: t[torch.tensor(list(rows), device=t.device, dtype=torch.long)][:, :, first:].clone())
        self.lengths = lengths
        self.dropped, self.windows = [self.dropped[n] for n in rows], [self.windows[n] for n in rows]

    def split(self) -> list[KeyValueCache]:
        """Returns one cache for each row, without padding. This cache stays as it is."""
        return [self.row(row) for row in range(self.rows)]

    @staticmethod
    def merge(caches: Sequence[KeyValueCache]) -> KeyValueCache:
        """Returns one cache with the rows of all, shorter ones padded on the left. The given ones stay as they are."""
        assert caches, "nothing to merge"
        assert all(min(cache.lengths) > 0 for cache in caches), "an empty cache cannot be merged: read the prompt first"
        lengths = [length for cache in caches for length in cache.lengths]
        width = max(lengths)
        merged = KeyValueCache(len(lengths))
        merged.lengths = lengths
        merged.dropped = [dropped for cache in caches for dropped in cache.dropped]
        merged.windows = [window for cache in caches for window in cache.windows]
        for layer in range(len(caches[0].keys_and_values.layers)):
            pairs = [cache._pair(layer) for cache in caches]
            merged._put([_stack(tensors, width) for tensors in zip(*pairs, strict=True)])
        return merged

    @staticmethod
    def of(pairs: Sequence[Sequence[Tensor]], length: int) -> KeyValueCache:
        """Returns a cache of one row: keys and values [1, G, length, C] of each block, nothing for one that borrows."""
        made = KeyValueCache()
        made.lengths = [length]
        for pair in pairs:
            made._put(pair)
        return made

    def row(self, row: int) -> KeyValueCache:
        """Returns a cache of one row, without padding. This cache stays as it is."""
        length = self.lengths[row]
        return self._like([row], [length], lambda t: t[row : row + 1, :, t.shape[2] - length :].clone())

    def _like(self, rows: Sequence[int], lengths: Sequence[int], change: Callable[[Tensor], Tensor]) -> KeyValueCache:
        other = KeyValueCache(len(lengths))
        other.lengths = list(lengths)
        other.dropped, other.windows = [self.dropped[n] for n in rows], [self.windows[n] for n in rows]
        for layer in range(len(self.keys_and_values.layers)):
            other._put([change(t) for t in self._pair(layer)])
        return other

    def _put(self, pair: Sequence[Tensor]) -> None:
        """Appends a layer that holds keys and values as they are (`update` would copy them), or an empty one."""
        layer = DynamicLayer()
        if pair:
            layer.lazy_initialization(*pair)
            layer.keys, layer.values = pair
        self.keys_and_values.layers.append(layer)

    def _replace(self, change: Callable[[Tensor], Tensor]) -> None:
        self.keys_and_values = self._like(range(self.rows), self.lengths, change).keys_and_values

    def _pair(self, layer: int) -> Sequence[Tensor]:
        """Returns keys and values [B, G, T, C] of a layer; nothing for a block that borrows those of another one."""
        held = self.keys_and_values.layers[layer]
        return (held.keys, held.values) if held.is_initialized else ()


def _stack(parts: Sequence[Tensor], width: int) -> Tensor:
    """Stacks [B, G, T, C] of different T to one [sum of B, G, width, C], right-aligned, zeros on the left."""
    padded = [torch.nn.functional.pad(part, (0, 0, width - part.shape[2], 0)) for part in parts]
    return torch.cat(padded)

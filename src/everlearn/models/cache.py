"""The attention cache: keys and values of every block, for one or several rows of different length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from everlearn.models.apertis.states import StateLayer
from everlearn.models.window import RollingWindow

_MARKS = 8  # states that are kept to go back to
States = tuple[tuple[Tensor, ...], ...]  # of each layer that has one


@final
class KeyValueCache:
    """Keys and values of what has been read so far.

    It wraps a `DynamicCache` made without a configuration: then layers with a sliding window keep all keys as well, and
    the attention mask makes the window. So a cache can be cut back to any length, which a rolling window could not.

    Rows of different length are padded on the left; padding is masked, and positions count real tokens.

    Layers of our own family may remember by a state instead, from which nothing can be taken out. Of a cache of one row
    the states after the last texts are kept, and cutting back goes to the nearest of them.

    A row with a window holds a constant number of tokens at most: `roll` drops the oldest behind its sinks.

    Args:
        rows: how many sequences.
        window: of each row; None = all tokens are kept.

    Attributes:
        lengths: real tokens of each row that are held.
        dropped: tokens of each row that have left its window.
        windows: of each row; None = it keeps all tokens.
        marks: of each row: length -> states [1, ...] of the layers that have one, as they were at that length.
    """

    def __init__(self, rows: int = 1, window: RollingWindow | None = None) -> None:
        self.lengths: list[int] = [0] * rows
        self.dropped: list[int] = [0] * rows
        self.windows: list[RollingWindow | None] = [window] * rows
        self.keys_and_values = DynamicCache()
        self.marks: list[dict[int, States]] = [{} for _ in range(rows)]

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
        """Bytes of all keys and values, padding included, and of all states."""
        layers = range(len(self.keys_and_values.layers))
        kept = {id(t): t for marks in self.marks for mark in marks.values() for states in mark for t in states}
        kept |= {id(t): t for layer in self._state_layers for t in layer.states}
        tensors = [t for layer in layers for t in self._pair(layer)] + list(kept.values())
        return sum(t.numel() * t.element_size() for t in tensors)

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
            self.marks = [{} for _ in range(rows)]
        assert rows == self.rows, f"{rows} rows were appended to a cache of {self.rows}"
        self.lengths = [length + count for length in self.lengths]
        if rows == 1 and count > 1 and (states := tuple(layer.states for layer in self._state_layers)):
            self.marks[0][self.lengths[0]] = states
            for length in sorted(self.marks[0])[:-_MARKS]:
                del self.marks[0][length]

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
        """Keeps the first `length` tokens of the only row, or fewer where a layer has a state: `lengths` tells."""
        assert self.rows == 1, "only a cache of one row can be cropped"
        assert 0 <= length <= self.width, f"cannot crop {self.width} tokens to {length}"
        if length < self.width and self._state_layers:
            length = max((mark for mark in self.marks[0] if mark <= length), default=0)
        if length == 0:
            self.keys_and_values = DynamicCache()
        elif length < self.width:
            # A copy, since a view would keep the bytes of the tokens that are gone.
            self._replace(lambda t: t[:, :, :length].clone())
            for layer, states in zip(self._state_layers, self.marks[0].get(length, ()), strict=True):
                layer.restore((states, length))
        self.lengths = [length]
        self.marks = [{mark: states for mark, states in self.marks[0].items() if mark <= length}]

    def copy(self) -> KeyValueCache:
        """Returns an independent cache of the same content; tensors are shared, since none is written in place."""
        return self._like(range(self.rows), self.lengths, lambda t: t)

    def select(self, rows: Sequence[int]) -> None:
        """Keeps only these rows, in this order, and drops padding that no row needs any more."""
        lengths = [self.lengths[row] for row in rows]
        first = self.width - max(lengths, default=0)
        chosen = torch.tensor(list(rows), dtype=torch.long)
        self._replace(lambda t: t[chosen.to(t.device)][:, :, first:].clone())
        for layer in self._state_layers:
            layer.reorder_cache(chosen)
        self.lengths = lengths
        self.dropped, self.windows = [self.dropped[n] for n in rows], [self.windows[n] for n in rows]
        self.marks = [self.marks[n] for n in rows]

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
        merged.marks = [dict(marks) for cache in caches for marks in cache.marks]
        for layer in range(len(caches[0].keys_and_values.layers)):
            if isinstance(state := caches[0].keys_and_values.layers[layer], StateLayer):
                parts = [cache.keys_and_values.layers[layer].states for cache in caches]
                merged.keys_and_values.layers.append(state.with_states(tuple(map(torch.cat, zip(*parts, strict=True)))))
                continue
            pairs = [cache._pair(layer) for cache in caches]
            merged._put([_stack(tensors, width) for tensors in zip(*pairs, strict=True)])
        return merged

    @staticmethod
    def of(pairs: Sequence[Sequence[Tensor] | StateLayer], length: int) -> KeyValueCache:
        """Returns a cache of one row: keys and values [1, G, length, C] of each block, or its state.

        Nothing for a block that borrows those of another one.
        """
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
        other.marks = [dict(self.marks[n]) for n in rows]
        for number, layer in enumerate(self.keys_and_values.layers):
            if isinstance(layer, StateLayer):
                whole = len(rows) == self.rows
                other._put(layer.with_states(tuple(t if whole else t[list(rows)] for t in layer.states)))
            else:
                other._put([change(t) for t in self._pair(number)])
        return other

    def _put(self, pair: Sequence[Tensor] | StateLayer) -> None:
        """Appends a layer that holds keys and values as they are (`update` would copy them), a state, or nothing."""
        if isinstance(pair, StateLayer):
            self.keys_and_values.layers.append(pair)
            return
        layer = DynamicLayer()
        if pair:
            layer.lazy_initialization(*pair)
            layer.keys, layer.values = pair
        self.keys_and_values.layers.append(layer)

    def _replace(self, change: Callable[[Tensor], Tensor]) -> None:
        self.keys_and_values = self._like(range(self.rows), self.lengths, change).keys_and_values

    def _pair(self, layer: int) -> Sequence[Tensor]:
        """Returns keys and values [B, G, T, C] of a layer; nothing for a block that borrows them or has a state."""
        held = self.keys_and_values.layers[layer]
        return (held.keys, held.values) if held.is_initialized and not isinstance(held, StateLayer) else ()

    @property
    def _state_layers(self) -> list[StateLayer]:
        return [layer for layer in self.keys_and_values.layers if isinstance(layer, StateLayer)]


def _stack(parts: Sequence[Tensor], width: int) -> Tensor:
    """Stacks [B, G, T, C] of different T to one [sum of B, G, width, C], right-aligned, zeros on the left."""
    padded = [torch.nn.functional.pad(part, (0, 0, width - part.shape[2], 0)) for part in parts]
    return torch.cat(padded)

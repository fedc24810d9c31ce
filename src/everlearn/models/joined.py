"""The attention cache of a running batch: rows join and leave while the others stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from everlearn.models.apertis.states import StateLayer
from everlearn.models.cache import KeyValueCache, States

_HEADROOM = 128  # columns that are free after the tensors were made; when they are used up the tensors are made anew
_SPARE = 1  # a masked column in front of the longest row


@dataclass(slots=True)
class _Window:
    """Which part of the tensors holds something; the same in every layer."""

    rows: int = 0
    start: int = 0
    end: int = 0


@final
class JoinedCache:
    """Keys and values of several rows, in tensors with room for more rows and more tokens.

    A `KeyValueCache` copies all that it holds for every token that is appended, which takes half of a step of 16 rows
    (docs/log.md). Here a token is written in place. All rows end at the same column, shorter ones are padded on the
    left, so that windows of attention see the same distances as in a cache of one row.

    From two rows on one more column than needed is padding: there is always a mask then, and torch has no quick
    attention for several rows with grouped heads and without a mask. One row alone is computed as in its own cache.

    Attributes:
        lengths: real tokens of each row.
        keys_and_values: what the model is given.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._marks: list[dict[int, States]] = []
        self.keys_and_values = DynamicCache()
        self._window = _Window()
        self._slots = 0
        self._columns = 0

    @property
    def rows(self) -> int:
        """How many sequences it holds."""
        return len(self.lengths)

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths, default=0)

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors, free places included, and of its states."""
        held = sum(t.numel() * t.element_size() for layer in self._layers for t in (layer.all_keys, layer.all_values))
        return held + sum(layer.nbytes for layer in self._state_layers)

    def positions(self, count: int, device: torch.device) -> Tensor:
        """Returns the positions [B, T] of the next `count` tokens."""
        return torch.tensor(self.lengths, device=device)[:, None] + torch.arange(count, device=device)

    def mask(self, count: int, device: torch.device) -> Tensor | None:
        """Returns 1 for real and 0 for padding tokens [B, columns + count]; None for a row alone."""
        if self.rows == 1:
            return None
        columns = self._window.end - self._window.start
        pads = torch.tensor([columns - length for length in self.lengths], device=device)
        return (torch.arange(columns + count, device=device) >= pads[:, None]).long()

    def grow(self, rows: int, count: int) -> None:
        """Records that `count` tokens were appended to each row."""
        assert rows == self.rows, f"{rows} rows were appended to a cache of {self.rows}"
        self.lengths = [length + count for length in self.lengths]
        self._window.end += count
        self._fit()

    def reserve(self, count: int) -> None:
        """Makes room for `count` more tokens of each row; to be called before they are read."""
        if self._window.end + count > self._columns:
            self._make_anew(self._slots, self.width, self._columns + count + _HEADROOM)

    def join(self, cache: KeyValueCache) -> None:
        """Takes on the only row of another cache, as the last one. The other stays as it is."""
        assert cache.rows == 1 and cache.width > 0, "only a row that has been read can join"
        length = cache.width
        if not self.keys_and_values.layers:
            self._begin(cache)
        if self.rows == self._slots or length + _SPARE > self._window.end:
            slots = self._slots if self.rows < self._slots else 2 * self._slots
            widest = max(self.width, length)
            self._make_anew(slots, widest, widest + _SPARE + _HEADROOM)
        end, row = self._window.end, self.rows
        for mine, theirs in zip(self.keys_and_values.layers, cache.keys_and_values.layers, strict=True):
            if isinstance(mine, StateLayer):
                rows = (
                    zip(mine.states, theirs.states, strict=True) if mine.states else ((t[:0], t) for t in theirs.states)
                )
                mine.restore((tuple(torch.cat(pair) for pair in rows), theirs.length))
            elif isinstance(mine, _Slots):
                for held, new in ((mine.all_keys, theirs.keys), (mine.all_values, theirs.values)):
                    held[row, :, : end - length] = 0
                    held[row, :, end - length : end] = new[0]
        self.lengths.append(length)
        self._marks.append(dict(cache.marks[0]))
        self._fit()

    def leave(self, row: int) -> None:
        """Drops a row; the last one takes its place."""
        last = self.rows - 1
        if row != last:
            for layer in self._layers:
                for held in (layer.all_keys, layer.all_values):
                    held[row, :, : self._window.end] = held[last, :, : self._window.end]
        for state in self._state_layers:
            kept = [last if n == row else n for n in range(last)]
            state.restore((tuple(t[kept] for t in state.states), state.length))
        self.lengths[row], self._marks[row] = self.lengths[last], self._marks[last]
        self.lengths.pop()
        self._marks.pop()
        self._fit()

    def row(self, row: int) -> KeyValueCache:
        """Returns a cache of one row. This cache stays as it is."""
        end, length = self._window.end, self.lengths[row]
        parts: list[tuple[Tensor, ...] | StateLayer] = []
        for layer in self.keys_and_values.layers:
            if isinstance(layer, StateLayer):
                alone = layer.with_states(tuple(t[row : row + 1].clone() for t in layer.states))
                alone.length = length
                parts.append(alone)
            elif isinstance(layer, _Slots):
                held = (layer.all_keys, layer.all_values)
                parts.append(tuple(t[row : row + 1, :, end - length : end].clone() for t in held))
            else:
                parts.append(())
        made = KeyValueCache.of(parts, length)
        made.marks = [dict(self._marks[row])]
        return made

    @property
    def _state_layers(self) -> list[StateLayer]:
        return [layer for layer in self.keys_and_values.layers if isinstance(layer, StateLayer)]

    @property
    def _layers(self) -> list[_Slots]:
        return [layer for layer in self.keys_and_values.layers if isinstance(layer, _Slots)]

    def _begin(self, cache: KeyValueCache) -> None:
        """Layers like those of the first row; a block that borrows another one's keys has none of its own."""
        for layer in cache.keys_and_values.layers:
            if isinstance(layer, StateLayer):
                self.keys_and_values.layers.append(StateLayer())
                continue
            mine = _Slots(self._window, layer.keys, layer.values) if layer.is_initialized else DynamicLayer()
            self.keys_and_values.layers.append(mine)
        self._slots = 1

    def _fit(self) -> None:
        """The window begins where the longest row does, or one column before."""
        window = self._window
        window.rows = self.rows
        window.start = max(window.end - self.width - (_SPARE if self.rows > 1 else 0), 0)
        for layer in self._layers:
            layer.show()

    def _make_anew(self, slots: int, width: int, columns: int) -> None:
        """New tensors, in which the rows end at column `width + spare`."""
        window = self._window
        end, held = width + _SPARE, self.width

        def moved(old: Tensor) -> Tensor:
            new = old.new_zeros(slots, old.shape[1], columns, old.shape[3])
            new[: window.rows, :, end - held : end] = old[: window.rows, :, window.end - held : window.end]
            return new

        for layer in self._layers:
            layer.change(moved)
        self._slots, self._columns = slots, columns
        window.end = end
        self._fit()  # the window begins elsewhere now


class _Slots(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one block; what is read is a window of them."""

    def __init__(self, window: _Window, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self._window = window
        self.lazy_initialization(keys, values)
        self.all_keys, self.all_values = (t.new_zeros(1, t.shape[1], 0, t.shape[3]) for t in (keys, values))
        self.show()

    def change(self, change: Callable[[Tensor], Tensor]) -> None:
        self.all_keys, self.all_values = change(self.all_keys), change(self.all_values)

    def show(self) -> None:
        w = self._window
        self.keys, self.values = (t[: w.rows, :, w.start : w.end] for t in (self.all_keys, self.all_values))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        w, new = self._window, key_states.shape[2]
        self.all_keys[: w.rows, :, w.end : w.end + new] = key_states
        self.all_values[: w.rows, :, w.end : w.end + new] = value_states
        return (
            self.all_keys[: w.rows, :, w.start : w.end + new],
            self.all_values[: w.rows, :, w.start : w.end + new],
        )

    def get_seq_length(self) -> int:
        return self._window.end - self._window.start

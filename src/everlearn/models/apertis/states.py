"""Cache of a layer that remembers by a state of constant size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from everlearn.errors import ConversationError

_SEGMENT = 2_048  # tokens


class StateLayer(CacheLayerMixin):
    """What a layer knows of everything before: some tensors [B, ...] that do not grow.

    It counts the tokens it has read, so that transformers can ask any layer for the length. It cannot be cut back:
    what was read cannot be taken out of a state. `saved` and `restore` go back to a state that was kept.

    Attributes:
        states: the tensors, first dimension B; empty before the first token.
        length: tokens read.
    """

    supports_early_init = False
    is_sliding = True  # so that transformers makes masks by a layer that holds keys, where there is one

    def __init__(self, **_: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.states: tuple[Tensor, ...] = ()
        self.length = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the state."""
        return sum(state.numel() * state.element_size() for state in self.states)

    def write(self, states: tuple[Tensor, ...], tokens: int) -> None:
        """Replaces the state by the one after `tokens` more."""
        self.states = states
        self.length += tokens
        self.is_initialized = True

    def saved(self) -> tuple[tuple[Tensor, ...], int]:
        """Returns the state and its length, to be restored later; tensors are shared, none is written in place."""
        return self.states, self.length

    def restore(self, saved: tuple[tuple[Tensor, ...], int]) -> None:
        """Goes back to what `saved` returned."""
        self.states, self.length = saved
        self.is_initialized = bool(self.states)

    def with_states(self, states: tuple[Tensor, ...]) -> StateLayer:
        """Returns a layer of the same length with other states."""
        other = StateLayer()
        other.restore((states, self.length))
        return other

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Does nothing: a state begins with the first `write`."""

    def update(self, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Not for states."""
        raise AssertionError("a state layer holds no keys and values")

    def get_seq_length(self) -> int:
        """Tokens read."""
        return self.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset as if all tokens were kept, so that masks can be made from any layer."""
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        """-1: no maximum."""
        return -1

    def reset(self) -> None:
        """Forgets everything."""
        self.restore(((), 0))

    def crop(self, tokens_to_remove: int) -> None:
        """Refuses to take tokens out.

        Raises:
            ConversationError: tokens were to be removed.
        """
        if tokens_to_remove:
            raise ConversationError(
                f"{abs(tokens_to_remove)} tokens cannot be taken out of a state.",
                hint="Restore a state saved before them, or read the text again without them.",
            )

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Takes these rows, for beam search."""
        self.states = tuple(state.index_select(0, beam_idx.to(state.device)) for state in self.states)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row."""
        self.states = tuple(state.repeat_interleave(repeats, dim=0) for state in self.states)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows."""
        self.states = tuple(state[indices] for state in self.states)

    def offload(self) -> None:
        """Moves the state to the CPU."""
        self.states = tuple(state.to("cpu", non_blocking=True) for state in self.states)

    def prefetch(self) -> None:
        """States go back to their device when they are read."""


def state_layer(cache: Cache | None, layer_idx: int) -> StateLayer | None:
    """Returns the place of a layer's state in a cache; one without a place for it gets one.

    Args:
        cache: transformers' cache, or None where nothing is kept.
        layer_idx: which layer.
    """
    if cache is None:
        return None
    while len(cache.layers) <= layer_idx:  # a cache made without a configuration grows as layers come
        cache.layers.append(StateLayer() if len(cache.layers) == layer_idx else cache.layer_class_to_replicate())
    if not isinstance(cache.layers[layer_idx], StateLayer):
        assert not cache.layers[layer_idx].is_initialized, f"layer {layer_idx} of the cache holds keys and values"
        cache.layers[layer_idx] = StateLayer()
    held: StateLayer = cache.layers[layer_idx]
    return held


def in_segments(
    read: Callable[[Tensor, tuple[Tensor, ...], Tensor | None], tuple[Tensor, tuple[Tensor, ...]]],
    hidden_states: Tensor,
    padding: Tensor | None,
    starts: Tensor | None,
    cache: StateLayer | None,
) -> Tensor:
    """Lets a layer with a state read a text piece by piece.

    Pieces of 2,048 tokens stay in the processor's cache; in one piece a long text takes nearly twice the time.

    Args:
        read: takes [B, T, D], the states before (none at the beginning of a text) and its part of `starts`, gives
            [B, T, D] and the states after.
        hidden_states: [B, T, D].
        padding: [B, S] bool, False for padding on the left, which is read as zeros and leaves no trace in a state; the
            last T places are those of hidden_states.
        starts: [B, T] bool, True where another text begins in the row; None where none does.
        cache: the states after what was read before; replaced.

    Returns:
        [B, T, D].
    """
    tokens = hidden_states.shape[1]
    if padding is not None:
        hidden_states = hidden_states * padding[:, -tokens:, None]
    states = tuple(state.to(hidden_states.device) for state in cache.states) if cache is not None else ()
    outputs = []
    for first in range(0, tokens, _SEGMENT):
        part = slice(first, first + _SEGMENT)
        output, states = read(hidden_states[:, part], states, None if starts is None else starts[:, part])
        outputs.append(output)
    if cache is not None:
        cache.write(states, tokens)
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]

"""What a conversation has read already, and what of it a prompt can go on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from everlearn.engine.decode import prefill
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.models.window import RollingWindow


@final
@dataclass(frozen=True, slots=True)
class Held:
    """A cache of one row, and all tokens that were read into it, those too that have left its window."""

    cache: KeyValueCache
    ids: list[int]


def reused(held: Sequence[Held], ids: Sequence[int]) -> KeyValueCache | None:
    """The first cache that a prompt can go on from, cut back to the tokens that they share; None = no cache.

    A cache with a window can be cut back only as far as it did not roll since: before that, older tokens were held.

    Args:
        held: caches of the conversation, the newest first.
        ids: [T] tokens of the prompt.
    """
    for each in held:
        shared = common(each.ids, ids)
        cache, length = each.cache, shared - each.cache.dropped[0]
        window = cache.windows[0]
        if window is not None and (shared == 0 or window.dropped_at(shared) < cache.dropped[0]):
            continue
        if length < cache.lengths[0]:
            cache.crop(length)
        return cache
    return None


def started(model: BaseModel, ids: Sequence[int], window: RollingWindow | None, adapter: str | None) -> KeyValueCache:
    """A new cache. Of a prompt longer than its window only the sinks are read, and the middle is skipped.

    What is read then was not preceded by what was skipped, so it is nearly, not exactly, what reading everything would
    have given; but it takes a window's time, however long the conversation was.
    """
    cache = model.new_cache(window)
    if window is not None and len(ids) > window.capacity:
        if window.sinks:
            prefill(model, ids[: window.sinks], cache, None, adapter)
        cache.skip(window.dropped_at(len(ids)))
    return cache


def common(cached: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens of a cache can be used again; the last one of the prompt is always read anew."""
    most = min(len(cached), len(ids) - 1)
    return next((n for n in range(most) if cached[n] != ids[n]), most)

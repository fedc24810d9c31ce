"""Prefill and decoding: the only calls of the base model's forward while answering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from everlearn.engine.row import Row
from everlearn.memory.cursor import Cursor
from everlearn.memory.hook import corrected
from everlearn.models.base import BaseModel, Cache
from everlearn.models.cache import KeyValueCache


def forward(
    model: BaseModel,
    ids: Tensor,
    cache: Cache,
    cursors: Sequence[Cursor | None],
    adapters: Sequence[str | None] = (),
) -> Tensor:
    """One forward pass with the corrections of each row; a pass without any is the bare model's.

    Where the cache has a window that the tokens do not fit into, they are read in pieces, and the window rolls between.

    Args:
        model: the base model.
        ids: [B, T] long, the next tokens of each row.
        cache: of B rows; grows by T.
        cursors: [B], the entry that speaks in each row.
        adapters: [B], the adapter that each row wears; empty = none wears any.

    Returns:
        Logits [B, V] float32 of the last position, on the CPU, before the output correction.
    """
    given = {b: c.corrections() for b, c in enumerate(cursors) if c is not None and c.target is not None}
    speaking = {b: each for b, each in given.items() if each}
    blocks = sorted({block for each in speaking.values() for block in each})
    with model.lock, model.wearing(adapters):
        ids = _last_piece(model, ids, cache)
        if not speaking:
            return model.forward(ids, cache).cpu()
        rows = list(speaking)
        zero = torch.zeros(model.hidden_size)
        stacked = {b: torch.stack([speaking[r].get(b, zero) for r in rows]) for b in blocks}
        with corrected(model.blocks, stacked, rows):
            return model.forward(ids, cache).cpu()


def _last_piece(model: BaseModel, ids: Tensor, cache: Cache) -> Tensor:
    """Reads all pieces but the last one, which is returned: it fits into the cache."""
    while isinstance(cache, KeyValueCache):
        cache.roll()
        room = cache.room
        if room is None or ids.shape[1] <= room:
            break
        model.forward(ids[:, :room], cache)
        ids = ids[:, room:]
    return ids


def prefill(
    model: BaseModel, ids: Sequence[int], cache: KeyValueCache, cursor: Cursor | None, adapter: str | None = None
) -> Tensor:
    """Read prompt tokens [T] into a cache of one row; returns logits [V] of the last position."""
    return forward(model, torch.tensor([list(ids)], device=model.device), cache, [cursor], [adapter])[0]


def decode(model: BaseModel, rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    """Decode several answers together until all are finished; yields (row, new text).

    A finished row leaves the batch at once. On return, and also when the caller closes the iterator, each row has its
    own cache again.
    """
    for row in rows:
        yield row, row.take(row.logits)
    running = [row for row in rows if row.finish is None]
    if not running:
        return
    batch = running[0].cache if len(running) == 1 else KeyValueCache.merge([row.cache for row in running])
    try:
        while running:
            ids = torch.tensor([[row.tokens[-1]] for row in running], device=model.device)
            logits = forward(model, ids, batch, [row.cursor for row in running], [row.adapter for row in running])
            for row, own in zip(running, logits, strict=True):
                yield row, row.take(own)
            batch, running = _without_finished(batch, running)
    finally:
        _hand_back(batch, running)


def _without_finished(batch: KeyValueCache, running: list[Row]) -> tuple[KeyValueCache, list[Row]]:
    still = [n for n, row in enumerate(running) if row.finish is None]
    if len(still) == len(running):
        return batch, running
    _hand_back(batch, [row if row.finish else None for row in running])
    if still:
        batch.select(still)
    return batch, [running[n] for n in still]


def _hand_back(batch: KeyValueCache, rows: Sequence[Row | None]) -> None:
    """Give those rows their own caches again that will need them: a session goes on from its cache."""
    for n, row in enumerate(rows):
        if row is not None and row.keep_cache and batch.rows > 1:
            row.cache = batch.row(n)

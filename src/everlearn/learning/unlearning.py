"""Forgetting reaches the weights: versions that were trained on a lesson go, and all that was made of it."""

from __future__ import annotations

from collections.abc import Iterable

from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.sleep_files import REPLAY, anchor_path
from everlearn.specialists import router_file
from everlearn.specialists.shelf import AdapterShelf


def unlearn(shelf: AdapterShelf, ids: Iterable[str]) -> tuple[str, ...]:
    """Remove every version whose lineage has one of these lessons; no model is needed.

    Each name falls back to its newest version without them, or to none: then the rows of its other lessons speak again,
    until the next sleep trains an adapter on those alone. It is the one that would have been trained had the forgotten
    lesson never been taught.

    Args:
        shelf: of the state folder.
        ids: lessons that are forgotten.

    Returns:
        Ids of the versions that are gone.

    Raises:
        StoreBusyError: another process keeps writing replay or adapters; what is not done yet is done by calling again.
    """
    gone = set(ids)
    if (shelf.folder / REPLAY).exists():
        with ReplayBuffer(shelf.folder / REPLAY) as buffer:
            buffer.forget(gone)
    router_file.forget(shelf.folder / router_file.NAME, gone)
    tainted = [adapter for adapter in shelf.all() if gone & set(adapter.lessons)]
    for name in dict.fromkeys(adapter.name for adapter in tainted):
        steps = {adapter.step for adapter in tainted if adapter.name == name}
        if shelf.current(name) in steps:
            clean = [v.step for v in shelf.versions(name) if v.step not in steps]
            shelf.point(name, max(clean, default=None))
    for adapter in tainted:
        anchor_path(shelf.folder, adapter).unlink(missing_ok=True)
        shelf.remove(adapter.id)
    return tuple(adapter.id for adapter in tainted)

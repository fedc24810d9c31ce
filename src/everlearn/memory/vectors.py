"""Key vectors of lessons: at hand, kept on disk, or made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.key import KeyMaker
from everlearn.records import Lesson
from everlearn.store.port import DerivedStore

_log = logging.getLogger(__name__)


@final
class KeyVectors:
    """The key vectors of one encoder, kept in the derived store.

    Attributes:
        kind: under which they are kept; names the encoder.

    Args:
        keys: makes those that are missing.
        derived: keeps them.
    """

    def __init__(self, keys: KeyMaker, derived: DerivedStore) -> None:
        self._keys = keys
        self._derived = derived
        self.kind = f"key/{keys.digest[:16]}"

    def of(
        self, lessons: Sequence[Lesson], ready: Mapping[str, NDArray[np.float32]] | None = None
    ) -> NDArray[np.float32]:
        """The vectors [N, K] of lessons; those that were not kept yet are from now on.

        Args:
            lessons: at least one.
            ready: lesson id -> vector [K], where the caller has it already.
        """
        ready = ready or {}
        vectors = {**self.kept([le.id for le in lessons if le.id not in ready]), **ready}
        fresh = {le.id: le.question for le in lessons if le.id not in vectors}
        vectors.update(zip(fresh, self._keys.vectors(list(fresh.values())), strict=True))
        unsaved = [le.id for le in lessons if le.id in ready or le.id in fresh]
        self._derived.put(self.kind, {i: vectors[i].astype("<f4").tobytes() for i in unsaved})
        return np.stack([vectors[le.id] for le in lessons])

    def kept(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors [K] of those of `ids` whose vectors are kept, by id."""
        packed = self._derived.get(self.kind, ids)
        size = self._keys.width * 4
        damaged = [i for i, b in packed.items() if len(b) != size]
        if damaged:
            _log.warning("%d key vectors are damaged and are made anew", len(damaged))
        return {i: np.frombuffer(b, "<f4") for i, b in packed.items() if len(b) == size}

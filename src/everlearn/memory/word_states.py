"""Word states of entries: derived data, kept on disk, the often asked ones in memory."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import final

from everlearn.memory.key import KeyMaker
from everlearn.memory.phrase import Encoded, Floats, pack, unpack
from everlearn.store.port import DerivedStore

_log = logging.getLogger(__name__)


@final
class WordStates:
    """Finds the word states of entries; what is not kept is computed from the prompt (2 to 10 ms) and kept.

    Args:
        keys: reads prompts.
        derived: where they are kept.
        most: bound of how many are held in memory.
    """

    def __init__(self, keys: KeyMaker, derived: DerivedStore, most: int = 2_000) -> None:
        self._keys = keys
        self._derived = derived
        self._most = most
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._kind = f"words/{keys.digest[:16]}"
        self._lock = threading.Lock()

    def of(self, prompts: Mapping[str, str]) -> dict[str, Floats]:
        """Word states [N, K] float32 of entries, by id.

        Args:
            prompts: id -> prompt.
        """
        with self._lock:
            packed = {i: self._held[i] for i in prompts if i in self._held}
        rest = [i for i in prompts if i not in packed]
        packed.update(self._derived.get(self._kind, rest) if rest else {})
        states: dict[str, Floats] = {}
        for lesson_id, kept in packed.items():
            try:
                states[lesson_id] = unpack(kept, self._keys.width)
            except ValueError as cause:
                _log.warning("the word states of lesson %s are made anew: %s", lesson_id, cause)
        missing = [i for i in prompts if i not in states]
        if missing:
            made = self.keep(dict(zip(missing, self._keys.read([prompts[i] for i in missing]), strict=True)))
            packed.update(made)
            states.update({i: unpack(made[i], self._keys.width) for i in missing})
        self._hold(packed)
        return states

    def keep(self, encoded: Mapping[str, Encoded]) -> dict[str, bytes]:
        """Keep word states on disk, by id; returns their bytes."""
        packed = {lesson_id: pack(e.states) for lesson_id, e in encoded.items()}
        self._derived.put(self._kind, packed)
        return packed

    def drop(self, ids: Iterable[str]) -> None:
        """Let go of what is held in memory for these entries."""
        with self._lock:
            for lesson_id in ids:
                self._held.pop(lesson_id, None)

    def _hold(self, packed: Mapping[str, bytes]) -> None:
        with self._lock:
            for lesson_id, kept in packed.items():
                self._held[lesson_id] = kept
                self._held.move_to_end(lesson_id)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

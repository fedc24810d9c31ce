"""Near-duplicates of texts: found among many without comparing each with each."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import final

import numpy as np
from numpy.typing import NDArray

_BANDS, _ROWS = 16, 4  # a pair of similarity s meets in some band with 1 - (1 - s^4)^16: .8 at s = .57, 1.0 at .85
_SHINGLE = 3
_WORD = re.compile(r"\w+")


@final
class NearDuplicates:
    """Texts by id, and for a new text the one that is nearly the same.

    Candidates come from min-hash bands; whether they are near is then decided on the shingles themselves.

    Source: Broder 1997, On the resemblance and containment of documents; bands: Leskovec et al., Mining of Massive
        Datasets, section 3.4.

    Args:
        threshold: Jaccard similarity of the word triples from which two texts count as the same.
    """

    def __init__(self, threshold: float = 0.85) -> None:
        self.threshold = threshold
        draw = np.random.default_rng(0)
        self._factors = draw.integers(1, 1 << 31, _BANDS * _ROWS, dtype=np.uint64)
        self._offsets = draw.integers(0, 1 << 31, _BANDS * _ROWS, dtype=np.uint64)
        self._bands: dict[tuple[int, bytes], set[str]] = defaultdict(set)
        self._shingles: dict[str, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._shingles)

    def find(self, text: str) -> str:
        """Id of a kept text that is nearly the same, the nearest one; empty where there is none."""
        mine = shingles(text)
        found = {i for band in self._bands_of(mine) for i in self._bands.get(band, ())}
        near = [(jaccard(mine, self._shingles[i]), i) for i in found]
        return max((pair for pair in near if pair[0] >= self.threshold), default=(0.0, ""))[1]

    def add(self, text_id: str, text: str) -> None:
        """Keep a text."""
        self.remove(text_id)
        self._shingles[text_id] = shingles(text)
        for band in self._bands_of(self._shingles[text_id]):
            self._bands[band].add(text_id)

    def remove(self, text_id: str) -> None:
        """Drop a text; nothing happens where it is not kept."""
        known = self._shingles.pop(text_id, None)
        if known is None:
            return
        for band in self._bands_of(known):
            self._bands[band].discard(text_id)
            if not self._bands[band]:
                del self._bands[band]

    def _bands_of(self, mine: frozenset[int]) -> list[tuple[int, bytes]]:
        hashed = np.fromiter(mine, dtype=np.uint64, count=len(mine))
        signature = self._signature(hashed).reshape(_BANDS, _ROWS)
        return [(band, row.tobytes()) for band, row in enumerate(signature)]

    def _signature(self, hashed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # Multiplication wraps around 2^64, as is meant: the highest bits are well mixed.
        mixed = hashed[:, None] * self._factors[None] + self._offsets[None]
        lowest: NDArray[np.uint64] = (mixed >> np.uint64(16)).min(axis=0)
        return lowest


def shingles(text: str) -> frozenset[int]:
    """Hashes of all word triples, of the whole text where it has fewer words."""
    words = _WORD.findall(text.casefold()) or [text.strip()]
    parts = [" ".join(words[n : n + _SHINGLE]) for n in range(max(1, len(words) - _SHINGLE + 1))]
    return frozenset(
        int.from_bytes(hashlib.blake2b(p.encode("utf-8", "replace"), digest_size=8).digest()) for p in parts
    )


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Share of what both have of what either has."""
    return len(one & other) / max(len(one | other), 1)

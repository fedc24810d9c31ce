"""Clusters of vectors: where to look for the nearest entries without looking at all of them.

Every vector lies in two clusters: its nearest, and the one whose centre is near and seen in another direction. A query
that misses the first because the border between clusters runs there is likely to find the second.

Source: Sun et al. 2023, SOAR: Improved Indexing for Approximate Nearest Neighbor Search, section 3 (with lambda = 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SAMPLE = 48  # training vectors of a cluster
_ROUNDS = 6
_AT_ONCE = 8192
_PER_ROOT = 4  # clusters for each square root of the number of vectors
_FEWEST, _MOST = 16, 16_384

Steps = Callable[[int, int], None]  # done, all


def how_many(vectors: int) -> int:
    """Clusters for so many vectors: a power of two near four times the square root."""
    wanted = 2 ** round(math.log2(max(_PER_ROOT * math.sqrt(max(vectors, 1)), 1)))
    return int(min(max(wanted, _FEWEST), _MOST, max(vectors, 1)))


def train(
    vectors: NDArray[np.floating[Any]], count: int, *, seed: int = 0, progress: Steps | None = None
) -> NDArray[np.float32]:
    """Centres of clusters: spherical k-means over a sample.

    Args:
        vectors: [N, K] of unit length, N >= count; anything that numpy can take rows from.
        count: C.
        seed: draws sample and first centres.
        progress: called with rounds done and to do.

    Returns:
        [C, K] of unit length.
    """
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.choice(len(vectors), min(len(vectors), count * _SAMPLE), replace=False))
    sample = torch.from_numpy(np.asarray(vectors[chosen], np.float32))
    centres = sample[torch.from_numpy(draw.choice(len(sample), count, replace=False))].clone()
    for done in range(_ROUNDS):
        nearest = torch.cat([_likeness(part, centres).argmax(1) for part in torch.split(sample, _AT_ONCE)])
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
        empty = torch.bincount(nearest, minlength=count) == 0
        sums[empty] = sample[torch.from_numpy(draw.choice(len(sample), int(empty.sum())))]
        centres = torch.nn.functional.normalize(sums, dim=1)
        if progress is not None:
            progress(done + 1, _ROUNDS)
    found: NDArray[np.float32] = centres.numpy()
    return found


def assign(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int32]:
    """The two clusters [N, 2] of each vector [N, K]; the same twice where there is only one."""
    middle = torch.from_numpy(centres)
    found = [_two(torch.from_numpy(part), middle) for part in _parts(vectors)]
    return np.concatenate(found) if found else np.zeros((0, 2), np.int32)


def _parts(vectors: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [np.array(vectors[n : n + _AT_ONCE], np.float32) for n in range(0, len(vectors), _AT_ONCE)]


def _two(vectors: Tensor, centres: Tensor) -> NDArray[np.int32]:
    likeness = _likeness(vectors, centres)
    first = likeness.argmax(1)
    rest = torch.nn.functional.normalize(vectors - centres[first], dim=1)
    # |x - c|^2 + (the part of x - c that points where the first residual points)^2
    along = (rest * vectors).sum(1, keepdim=True) - _likeness(rest, centres)
    loss = 2.0 - 2.0 * likeness + along.square()
    if len(centres) > 1:
        loss.scatter_(1, first[:, None], torch.inf)
    return torch.stack([first, loss.argmin(1)], 1).to(torch.int32).numpy()


def _likeness(vectors: Tensor, centres: Tensor) -> Tensor:
    """Cosines [N, C], to three digits: half precision is several times as fast, and centres are means anyway."""
    return (vectors.bfloat16() @ centres.bfloat16().T).float()

"""Keys of lessons as points on a plane: the two directions in which they differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

MOST_MEASURED = 20_000
_LEAST = 1e-6


@final
@dataclass(frozen=True, slots=True)
class Plane:
    """Two directions through the middle of some vectors, and where those lie along them.

    Attributes:
        middle: [K].
        directions: [K, 2].
        low: [2], the least place along each.
        width: [2], from there to the greatest.
    """

    middle: NDArray[np.float64]
    directions: NDArray[np.float64]
    low: NDArray[np.float64]
    width: NDArray[np.float64]

    def points(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors [M, K] as points [M, 2] in 0..1; 0.5 along a direction in which there was nothing to tell apart.

        A vector that came after the plane was laid may lie beyond its edge: then it is put there.
        """
        told_apart = self.width > _LEAST
        places = vectors @ self.directions - self.middle @ self.directions
        scaled = np.where(told_apart, (places - self.low) / np.where(told_apart, self.width, 1.0), 0.5)
        return np.asarray(np.clip(scaled, 0.0, 1.0), dtype=np.float32)


def plane_of(vectors: NDArray[np.float32], most: int = MOST_MEASURED) -> Plane:
    """The plane of the first two principal components.

    Args:
        vectors: [M, K], M >= 1.
        most: of more vectors than this the directions are those of an even sample.

    Source: Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, 1901.
    """
    measured = vectors[:: -(-len(vectors) // most)]
    middle = measured.mean(axis=0, dtype=np.float64)
    centred = measured.astype(np.float64) - middle
    # The K x K covariance costs the same for any number of lessons; a decomposition of all points does not.
    values, directions = np.linalg.eigh(centred.T @ centred)
    best = directions[:, np.argsort(values)[::-1][:2]]
    best = best * np.where(best[np.abs(best).argmax(axis=0), range(best.shape[1])] < 0, -1.0, 1.0)
    if best.shape[1] < 2:
        best = np.concatenate([best, np.zeros((len(best), 2 - best.shape[1]))], axis=1)
    places = vectors @ best - middle @ best
    return Plane(middle, best, places.min(axis=0), np.ptp(places, axis=0))


def plane(vectors: NDArray[np.float32], most: int = MOST_MEASURED) -> NDArray[np.float32]:
    """Vectors [M, K], M >= 1, as points [M, 2] on their own plane, each direction scaled to 0..1."""
    return plane_of(vectors, most).points(vectors)

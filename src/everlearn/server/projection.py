"""Keys of lessons as points on a plane: the two directions in which they differ most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_MEASURED = 20_000


def plane(vectors: NDArray[np.float32], most: int = MOST_MEASURED) -> NDArray[np.float32]:
    """The first two principal components, each scaled to 0..1.

    Args:
        vectors: [M, K], M >= 1.
        most: of more vectors than this the directions are those of an even sample; all of them are projected.

    Returns:
        [M, 2] in 0..1; 0.5 where there is nothing to tell apart.

    Source: Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, 1901.
    """
    measured = vectors[:: -(-len(vectors) // most)]
    middle = measured.mean(axis=0, dtype=np.float64)
    centred = measured.astype(np.float64) - middle
    # The K x K covariance costs the same for any number of lessons; a decomposition of all points does not.
    values, directions = np.linalg.eigh(centred.T @ centred)
    best = directions[:, np.argsort(values)[::-1][:2]]
    best = best * np.where(best[np.abs(best).argmax(axis=0), range(best.shape[1])] < 0, -1.0, 1.0)
    points = vectors @ best - middle @ best
    if points.shape[1] < 2:
        points = np.concatenate([points, np.zeros((len(points), 2 - points.shape[1]))], axis=1)
    low, width = points.min(axis=0), np.ptp(points, axis=0)
    scaled = np.where(width > 1e-6, (points - low) / np.where(width > 1e-6, width, 1.0), 0.5)
    return np.asarray(scaled, dtype=np.float32)

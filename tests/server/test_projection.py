"""The map's plane against the singular value decomposition, and where there is nothing to tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from everlearn.server.projection import plane


def test_it_is_the_principal_plane():
    vectors = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32) * np.arange(12, 0, -1, dtype=np.float32)
    centred = vectors - vectors.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    points = plane(vectors)
    for axis in range(2):
        wanted = u[:, axis] * s[axis]
        assert abs(np.corrcoef(points[:, axis], wanted)[0, 1]) == pytest.approx(1.0, abs=1e-6)
    assert points.min(0) == pytest.approx([0, 0])
    assert points.max(0) == pytest.approx([1, 1])


@pytest.mark.parametrize("vectors", [np.ones((1, 8)), np.ones((5, 8)), np.arange(5.0)[:, None]])
def test_nothing_to_tell_apart_is_the_middle(vectors):
    points = plane(vectors.astype(np.float32))
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(points).all()
    assert points[:, 1] == pytest.approx(0.5)

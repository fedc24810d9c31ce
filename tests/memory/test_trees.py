"""Trees: walked at once they say what they say one by one, and survive being packed."""

import numpy as np
import pytest
import safetensors.numpy

from everlearn.memory.evidence import FEATURES
from everlearn.memory.gate import Gate
from everlearn.memory.trees import Trees


def walked(trees: Trees, row: np.ndarray) -> float:
    """The obvious way: node by node."""
    total = trees.bias
    for feature, number, right in zip(trees.feature, trees.number, trees.right, strict=True):
        node = 0
        while feature[node] != 255:
            node = node + 1 if row[feature[node]] <= number[node] else int(right[node])
        total += float(number[node])
    return total


def test_all_at_once_equals_one_by_one():
    trees = Gate.packaged().trees
    rows = np.random.default_rng(0).uniform(-1.0, 3.0, (50, len(FEATURES))).astype(np.float32)
    assert np.allclose(trees(rows), [walked(trees, row) for row in rows], atol=1e-5)
    assert trees(rows[:0]).shape == (0,)


def test_packing_keeps_every_number():
    gate = Gate.packaged()
    packed = gate.trees.to_bytes(gate.version, relation=gate.relation.astype(np.float16))
    trees, others, version = Trees.from_bytes(packed)
    rows = np.random.default_rng(1).uniform(-1.0, 3.0, (50, len(FEATURES))).astype(np.float32)
    assert np.array_equal(trees(rows), gate.trees(rows))
    assert np.array_equal(others["relation"].astype(np.float32), gate.relation)
    assert version == gate.version


def test_a_gate_of_other_features_is_refused():
    packed = Gate.packaged().trees.to_bytes("another")
    arrays = safetensors.numpy.load(packed)
    other = safetensors.numpy.save(arrays, {"features": "cosine", "version": "old"})
    with pytest.raises(ValueError, match="other features"):
        Trees.from_bytes(other)

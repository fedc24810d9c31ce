"""Boosted decision trees as plain arrays: all trees of all rows are walked at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from everlearn.memory.evidence import FEATURES
from everlearn.memory.phrase import Floats

_LEAF = 255
_ARRAYS = ("feature", "number", "right", "bias")


@final
@dataclass(frozen=True, slots=True)
class Trees:
    """An ensemble of N trees with at most M nodes each, parents before children, the left child right after its parent.

    Attributes:
        feature: [N, M] which feature a node asks for; 255 for a leaf.
        number: [N, M] float32: of a node its threshold (rows at or below it go left), of a leaf the log-odds it adds.
        right: [N, M] child for values above the threshold.
        bias: log-odds before any tree.
    """

    feature: NDArray[np.uint8]
    number: Floats
    right: NDArray[np.uint8]
    bias: float

    def __call__(self, rows: Floats) -> NDArray[np.float64]:
        """Log-odds [R] of R rows of evidence [R, F]: all trees of all rows take a step at once."""
        trees, pick = np.arange(len(self.feature)), np.arange(len(rows))[:, None]
        at = np.zeros((len(rows), len(trees)), np.int64)
        while True:
            asks = self.feature[trees, at]
            leaf = asks == _LEAF
            if leaf.all():
                break
            small = rows[pick, np.where(leaf, 0, asks)] <= self.number[trees, at]
            at = np.where(leaf, at, np.where(small, at + 1, self.right[trees, at]))
        total: NDArray[np.float64] = self.bias + self.number[trees, at].sum(1, dtype=np.float64)
        return total

    @classmethod
    def from_bytes(cls, packed: bytes) -> tuple[Trees, dict[str, NDArray[np.float32]], str]:
        """Unpacks a safetensors file: the trees, the other arrays in it, and which fit it is.

        Raises:
            ValueError: it was fitted on other features than these.
        """
        arrays, about = safetensors.numpy.load(packed), _metadata(packed)
        if tuple(about["features"].split()) != FEATURES:
            raise ValueError("the gate was fitted on other features than this version of everlearn has")
        trees = cls(arrays["feature"], arrays["number"].astype(np.float32), arrays["right"], float(arrays["bias"][0]))
        others = {name: array.astype(np.float32) for name, array in arrays.items() if name not in _ARRAYS}
        return trees, others, about["version"]

    def to_bytes(self, version: str, **others: NDArray[np.float16]) -> bytes:
        """Packs as safetensors, four bytes for a node, together with other arrays."""
        arrays: dict[str, NDArray[Any]] = {
            "feature": self.feature,
            "number": self.number.astype(np.float16),
            "right": self.right,
            "bias": np.array([self.bias], np.float32),
        }
        about = {"features": " ".join(FEATURES), "version": version}
        packed: bytes = safetensors.numpy.save({**arrays, **others}, about)
        return packed


def _metadata(packed: bytes) -> dict[str, str]:
    """The texts in the head of a safetensors file."""
    size = int.from_bytes(packed[:8], "little")
    about: dict[str, str] = json.loads(packed[8 : 8 + size])["__metadata__"]
    return about

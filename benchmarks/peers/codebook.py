"""GRACE's codebook: keys with a radius, and the rules by which it grows. No model, no gradient.

Source: Hartvigsen et al. 2023, Aging with GRACE, arXiv 2211.11031, section 3.2 and algorithm 1.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

Label = tuple[int, ...]
GAP = 1e-5
"""What is taken from the older of two halved radii, so that a point between both belongs to one of them."""


@final
class Codebook:
    """Keys, each with a value, a label and a radius within which it speaks.

    Two slips that are found in public code are not copied: labels are compared token by token (not by the mean of their
    token ids), and they stand in the order of their keys.

    Args:
        key_width: F, width of a key.
        value_width: D, width of a value.
        radius: of a new key, in Euclidean distance of activations.
    """

    def __init__(self, key_width: int, value_width: int, radius: float) -> None:
        self.keys = torch.zeros(0, key_width)
        self.values = torch.zeros(0, value_width)
        self.radii = torch.zeros(0)
        self.labels: list[Label] = []
        self._first_radius = radius

    def __len__(self) -> int:
        return len(self.labels)

    def entry_for(self, query: Tensor, label: Label, value: Tensor) -> int:
        """Number of the entry whose value is to be learned for an edit; the codebook grows by the paper's rules.

        - No key near (farther than its radius and a new one together): a new key.
        - A key near, with another label: a new key, and both radii shrink to half the distance.
        - A key near, with the same label: no new key; its radius grows until it covers the query.

        Args:
            query: [F] activation of the edit.
            label: the answer's tokens.
            value: [D] what a new entry begins with.
        """
        if not self.labels:
            return self._add(query, label, value)
        nearest, distance = self._nearest(query)
        if distance > self._first_radius + float(self.radii[nearest]):
            return self._add(query, label, value)
        if self.labels[nearest] == label:
            self.radii[nearest] = max(distance, float(self.radii[nearest]))
            return nearest
        number = self._add(query, label, value)
        self.radii[nearest] = distance / 2 - GAP
        self.radii[number] = distance / 2
        return number

    def lookup(self, queries: Tensor) -> list[int | None]:
        """For each query [N, F] the nearest entry, where the query lies within its radius."""
        if not self.labels or not len(queries):
            return [None] * len(queries)
        distances, nearest = torch.cdist(queries, self.keys, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        inside = distances <= self.radii[nearest]
        return [int(n) if within else None for n, within in zip(nearest, inside, strict=True)]

    def _nearest(self, query: Tensor) -> tuple[int, float]:
        distances = torch.linalg.vector_norm(self.keys - query, dim=1)
        nearest = int(distances.argmin())
        return nearest, float(distances[nearest])

    def _add(self, query: Tensor, label: Label, value: Tensor) -> int:
        self.keys = torch.cat([self.keys, query[None]])
        self.values = torch.cat([self.values, value[None]])
        self.radii = torch.cat([self.radii, torch.tensor([self._first_radius])])
        self.labels.append(label)
        return len(self) - 1

"""A number for each row that changes when a byte of it does: many short rows are checked at memory speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 20251122
_LONGEST = 1 << 14  # words of 8 bytes in a row
_AT_ONCE = 16_384
# Odd factors: multiplying by one loses nothing, so that one changed word always changes the sum.
_FACTORS = np.random.Generator(np.random.PCG64(_SEED)).integers(0, 2**63, _LONGEST, dtype=np.uint64) * np.uint64(2) + (
    np.uint64(1)
)


def row_checks(columns: Sequence[NDArray[Any]], rows: int) -> NDArray[np.uint64]:
    """A check of each row over several columns.

    It finds accidents (a torn write, a bad sector), not attacks: whoever can write here can write the check, too.

    Args:
        columns: each [N] or [N, width], of fixed size types.
        rows: N.

    Returns:
        [N], never 0, so that a wiped row does not pass for a sound one.
    """
    sums = np.zeros(rows, np.uint64)
    for first in range(0, rows, _AT_ONCE):
        part = [_bytes(column[first : first + _AT_ONCE]) for column in columns]
        packed = np.concatenate(part, axis=1) if len(part) > 1 else part[0]
        if packed.shape[1] % 8:
            packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
        words = np.ascontiguousarray(packed).view(np.uint64)
        sums[first : first + _AT_ONCE] = (words * _FACTORS[: words.shape[1]]).sum(axis=1, dtype=np.uint64)
    return np.maximum(sums, np.uint64(1))


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """[N, bytes of a row]."""
    plain = np.ascontiguousarray(rows)
    return plain.view(np.uint8).reshape(len(plain), -1)

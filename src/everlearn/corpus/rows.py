"""What a file format yields before it is known whether a lesson stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: its values by name, or the reason why there are none.

    Attributes:
        number: of the line it begins at, from 1.
        values: by name of the field, or None.
        error: why the row cannot be read; empty where it can.
    """

    number: int
    values: Mapping[str, object] | None
    error: str = ""

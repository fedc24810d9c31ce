"""What a check of `everlearn doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one check.

    Attributes:
        name: of the check.
        level: "ok", "warn" (it will work, with a drawback) or "fail".
        found: what was found.
        mend: how to mend it; empty where nothing has to be.
    """

    name: str
    level: Level
    found: str
    mend: str = ""


def size(nbytes: int) -> str:
    """A number of bytes as people write it."""
    for unit, factor in (("GB", GIGABYTE), ("MB", 1_000_000), ("kB", 1_000)):
        if nbytes >= factor:
            return f"{nbytes / factor:.1f} {unit}"
    return f"{nbytes} bytes"

"""Are the bytes on disk the expected ones? Hashes and the shape of safetensors files, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from everlearn.errors import CorruptWeightsError

_CHUNK = 1 << 20
_MAX_HEADER = 100_000_000  # the limit of the safetensors format itself


def sha256_of(path: Path, *, progress: Callable[[int], None] | None = None) -> str:
    """Returns the sha256 of a file in hex.

    Args:
        path: the file.
        progress: called with the number of bytes of each piece that was read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            if progress:
                progress(len(piece))
    return digest.hexdigest()


def check_safetensors(path: Path, *, hint: str) -> None:
    """Checks that a safetensors file is whole: a readable header, and exactly as many bytes as it announces.

    Args:
        path: the file.
        hint: how to mend it, for the message.

    Raises:
        CorruptWeightsError: the file is truncated or not a safetensors file.
    """
    found = path.stat().st_size
    wanted = _announced_bytes(path, found)
    if wanted == found:
        return
    what = (
        f"has {found:,} bytes where {wanted:,} are announced" if wanted else "does not start as a safetensors file does"
    )
    raise CorruptWeightsError(f"{path} is corrupt: it {what}.", hint=hint)


def _announced_bytes(path: Path, found: int) -> int:
    """Returns the size that the header announces, or 0 where there is no readable header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER, found):
            return 0
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return 0
    return 8 + length + max(ends, default=0)

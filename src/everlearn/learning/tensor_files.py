"""Tensors on disk as safetensors: never a pickle, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import safetensors.torch
from torch import Tensor

from everlearn.errors import FileFormatError, StoreFullError


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, whole or not at all.

    Raises:
        StoreFullError: they cannot be written; an older file stays as it was.
    """
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(safetensors.torch.save(dict(tensors), dict(about or {})))
        part.replace(path)
    except OSError as cause:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreFullError(f"{path} cannot be written: {cause}.", hint="Free some room.") from cause


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and what is said about them.

    Raises:
        FileFormatError: missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="Delete it, or use another copy.") from cause

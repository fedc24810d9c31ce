"""A router on disk: the features of its examples as safetensors; all sums are made again, exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import safetensors
import safetensors.numpy

from everlearn.errors import FileFormatError, StoreFullError
from everlearn.specialists.router import SCALE, SpecialistRouter

FORM = 1
NAME = "router.safetensors"
_HINT = "Delete it: the router is learned anew at the next consolidation."


def save(router: SpecialistRouter, path: Path, *, encoder: str) -> None:
    """Write a router, whole or not at all.

    Args:
        router: what to write.
        path: the file.
        encoder: digest of the sentence encoder that made the features; another one is refused.

    Raises:
        StoreFullError: it cannot be written; an older file stays as it was.
    """
    known = {name: router.statistics(name) for name in router.domains}
    rows = {f"rows/{name}": each.rows[:, :-1].astype(np.int16) for name, each in known.items()}
    about = {
        "form": FORM,
        "encoder": encoder,
        "width": router.width,
        "ridge": router.ridge,
        "doubt": router.doubt,
        "ids": {name: each.ids for name, each in known.items()},
        "least": {name: each.least for name, each in known.items()},
    }
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(safetensors.numpy.save(rows, {"router": json.dumps(about)}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as cause:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreFullError(f"{path} cannot be written: {cause}.", hint="Free some room.") from cause


def forget(path: Path, ids: Iterable[str]) -> None:
    """Let the router of a file un-learn examples, exactly. Nothing happens where there is none, or none of them."""
    if not path.exists():
        return
    gone = set(ids)
    router, encoder = _read(path)
    touched = [d for d in router.domains if gone & set(router.statistics(d).ids)]
    for domain in touched:
        router.unlearn(domain, gone)
    if touched:
        save(router, path, encoder=encoder)


def load(path: Path, *, encoder: str) -> SpecialistRouter:
    """Read what `save` wrote.

    Raises:
        FileFormatError: missing, damaged, newer, or made with another encoder.
    """
    router, made_with = _read(path)
    if made_with != encoder:
        raise FileFormatError(f"{path} was made with another encoder.", hint=_HINT)
    return router


def _read(path: Path) -> tuple[SpecialistRouter, str]:
    """A router and the digest of its encoder."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["router"])
            rows = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["form"] > FORM:
            raise FileFormatError(f"{path} has form {about['form']}, newer than {FORM}.", hint="Update everlearn.")
        router = SpecialistRouter(about["width"], ridge=about["ridge"], doubt=about["doubt"])
        for name, ids in about["ids"].items():
            least = about.get("least", {}).get(name)  # files of before have none
            router.learn(name, ids, (rows[f"rows/{name}"] / SCALE).astype(np.float32), least=least)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError) as cause:
        if isinstance(cause, FileFormatError):
            raise
        raise FileFormatError(f"{path} cannot be read: {cause!r}.", hint=_HINT) from cause
    return router, str(about["encoder"])

"""Folders of models in EVERLEARN_HOME: made aside, put into place whole, and known by a manifest.

A folder without a manifest, or whose files have other sizes than the manifest says, counts as absent and is made again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from everlearn.errors import CorruptWeightsError, WeightsError
from everlearn.models.integrity import sha256_of

MANIFEST = "manifest.json"
_FORMAT = 1
_LOCK_HINT_SECONDS = 1.0


@dataclass(frozen=True)
class Origin:
    """What a folder is made from.

    Attributes:
        name: as the user calls the model.
        source: where it comes from, for people.
        digest: sha256 hex that identifies the weights.
    """

    name: str
    source: str
    digest: str


def ready(folder: Path, digest: str = "") -> str:
    """Returns the digest of a finished folder, or "" where it is absent, broken, or not made from `digest`.

    Compares sizes, which costs next to nothing and finds whatever was cut short. `verify` reads all bytes.
    """
    manifest = read_manifest(folder)
    if not manifest or (digest and manifest["digest"] != digest):
        return ""
    whole = all(_size(folder / name) == entry["bytes"] for name, entry in manifest["files"].items())
    return str(manifest["digest"]) if whole else ""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a folder, or {} where there is none of this format."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    readable = isinstance(manifest, dict) and manifest.get("format") == _FORMAT
    return manifest if readable and {"digest", "files"} <= manifest.keys() else {}


def verify(folder: Path) -> None:
    """Reads every file of a folder with a manifest and compares its hash.

    Raises:
        CorruptWeightsError: a file is missing or has other bytes.
    """
    for name, entry in read_manifest(folder).get("files", {}).items():
        got = sha256_of(folder / name) if (folder / name).exists() else "no file"
        if got != entry["sha256"]:
            raise CorruptWeightsError(
                f"{folder / name} is corrupt: expected sha256 {entry['sha256']}, got {got}.",
                hint=f"Delete the folder {folder}; it is made again at the next start.",
            )


def make(folder: Path, origin: Origin, build: Callable[[Path], None]) -> None:
    """Makes a folder with a manifest so that it appears whole or not at all, whenever the process dies.

    Args:
        folder: where it shall be; what lies there is replaced.
        origin: goes into the manifest.
        build: writes the files into the empty folder it is given.
    """
    aside = folder.parent / ".partial" / folder.name
    new, old = aside / "new", aside / "old"
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    build(new)
    files = {path.relative_to(new).as_posix(): path for path in sorted(new.rglob("*")) if path.is_file()}
    manifest = {
        "format": _FORMAT,
        "name": origin.name,
        "source": origin.source,
        "digest": origin.digest,
        "files": {name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for name, path in files.items()},
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in [*files.values(), new / MANIFEST]:
        _sync(path)
    if folder.exists():
        folder.replace(old)
    new.replace(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def locked(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Lets one process at a time make a folder; the others wait and then find it finished.

    The operating system frees the lock when its holder dies, however it dies.

    Args:
        folder: what is to be made.
        waiting: called once, where another process is at it.
    """
    locks = folder.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{folder.name}.lock")
    try:
        lock.acquire(timeout=_LOCK_HINT_SECONDS)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_room(home: Path, needed: int, what: str) -> None:
    """Refuses to start what cannot end well.

    Args:
        home: folder on the disk in question; it must exist.
        needed: bytes.
        what: is to be made, for the message.

    Raises:
        WeightsError: fewer bytes are free.
    """
    if (free := shutil.disk_usage(home).free) < needed:
        raise _no_room(home, f"{what} needs {needed:,} bytes, and {free:,} are free")


@contextmanager
def disk_errors(home: Path) -> Iterator[None]:
    """Turns what the disk can refuse into errors that say how to mend it.

    Raises:
        WeightsError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise _no_room(home, str(error)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise WeightsError(
                f"{home} cannot be written: {error}.", hint="Set EVERLEARN_HOME to a folder of your own."
            ) from error
        raise


def _no_room(home: Path, why: str) -> WeightsError:
    return WeightsError(
        f"No room on the disk of {home}: {why}.", hint="Free some, or set EVERLEARN_HOME to another disk."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows cannot open folders, and writes their entries through
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

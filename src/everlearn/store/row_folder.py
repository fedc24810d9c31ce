"""A folder of rows of fixed width: a file for each column, a manifest that says which files count, a lock to write.

A process that ends in the middle of writing leaves bytes that the manifest does not name: nobody reads them, and the
next one that takes the lock removes them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from everlearn.errors import StoreBusyError
from everlearn.store.faults import translated
from everlearn.store.ids import ID_LENGTH

_log = logging.getLogger(__name__)
LAYOUT = 1
MANIFEST = "rows.json"
LOCK = "rows.lock"
ID = "id"
ID_TYPE = f"S{ID_LENGTH}"
_LOCK_SECONDS = 60.0

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One file.

    Attributes:
        name: of the column, part of the file's name.
        dtype: of numpy, of fixed size.
        width: values in a row.
        lazy: checked where a row is used, not when the folder is opened; for what is large.
    """

    name: str
    dtype: str
    width: int = 1
    lazy: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return np.dtype(self.dtype).itemsize * self.width


@final
class Rows:
    """The rows of a folder as one process sees them.

    Attributes:
        generation: which files; a rewritten folder has another one.
        seq: number of the change of the store up to which they are true.
        columns: name -> [N] or [N, width], over the files themselves.
        extra: name -> array kept beside them, as given to `replace`.
    """

    def __init__(self, generation: str, seq: int, columns: Mapping[str, Array], extra: Mapping[str, Array]) -> None:
        self.generation = generation
        self.seq = seq
        self.columns = columns
        self.extra = extra

    def __len__(self) -> int:
        return len(self.columns[ID])

    def live(self) -> NDArray[np.bool_]:
        """[N], which rows are not wiped."""
        return np.asarray(self.columns[ID] != b"")


def wipe(root: Path, ids: Sequence[str]) -> int:
    """Overwrite the rows of these ids with zeros, in all folders of rows below `root`, whoever wrote them and when.

    Returns:
        How many rows there were.

    Raises:
        StoreError: a folder cannot be written.
    """
    wanted = np.array([i.encode() for i in ids], ID_TYPE)
    folders = [lock.parent for lock in sorted(Path(root).rglob(LOCK))]
    # Where this account cannot write, whoever forgot the lesson could, and has wiped it.
    return sum(_wipe(folder, wanted) for folder in folders if os.access(folder, os.W_OK))


def _wipe(folder: Path, ids: Array) -> int:
    with locked(folder):
        manifest = manifest_of(folder)
        if manifest is None:
            return 0
        try:
            rows = mapped(folder, manifest)
        except (OSError, ValueError, KeyError) as cause:
            _log.warning("the index in %s is damaged and removed: %s", folder, cause)
            (folder / MANIFEST).unlink()
            sweep(folder)
            return 0
        places = np.flatnonzero(np.isin(rows.columns[ID], ids))
        if len(places):
            overwrite(rows, places)
        return len(places)


def delete(folder: Path) -> None:
    """Remove a folder's rows, files and all.

    Raises:
        StoreError: the folder cannot be written.
    """
    if (folder / LOCK).exists():
        with locked(folder):
            (folder / MANIFEST).unlink(missing_ok=True)
            sweep(folder)


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """What a folder's manifest says; None where there is none that can be used."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["layout"] == LAYOUT:
            return dict(manifest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as cause:
        _log.warning("%s cannot be read: %s", folder / MANIFEST, cause)
    return None


def publish(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make a manifest the one that counts, at once or not at all. Under the lock."""
    aside = folder / f"{MANIFEST}.new"
    with aside.open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / MANIFEST)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to write in a folder, over threads and processes; what a crash has left is removed first."""
    with translated(folder):
        try:
            with FileLock(folder / LOCK, timeout=_LOCK_SECONDS):
                sweep(folder)
                yield
        except Timeout as cause:
            raise StoreBusyError(
                f"Another process has held {folder} for {_LOCK_SECONDS:.0f} s.", hint="Try again later."
            ) from cause


def sweep(folder: Path) -> None:
    """Remove what a process that ended in the middle of writing has left. Under the lock."""
    manifest = manifest_of(folder)
    kept = (MANIFEST, LOCK, *([f"{manifest['generation']}."] if manifest else []))
    for file in list(folder.iterdir()):
        if not file.name.startswith(kept) or file.name == f"{MANIFEST}.new":
            file.unlink(missing_ok=True)
    if manifest is None:
        return
    for column in _columns_of(manifest):
        file = folder / f"{manifest['generation']}.{column.name}"
        wanted = manifest["rows"] * column.row_bytes
        if file.exists() and file.stat().st_size > wanted:
            os.truncate(file, wanted)


def _columns_of(manifest: Mapping[str, Any]) -> list[Column]:
    return [Column(name, dtype, width) for name, dtype, width in manifest["columns"]]


def mapped(folder: Path, manifest: Mapping[str, Any]) -> Rows:
    """The rows that a manifest names.

    Raises:
        OSError, ValueError, KeyError: they are not there, or cut off.
    """
    count, generation = int(manifest["rows"]), str(manifest["generation"])
    columns = {c.name: _map(folder / f"{generation}.{c.name}", c, count) for c in _columns_of(manifest)}
    extra = {name: np.load(folder / f"{generation}.{name}.npy", allow_pickle=False) for name in manifest["extra"]}
    return Rows(generation, int(manifest["seq"]), columns, extra)


def _map(file: Path, column: Column, count: int) -> Array:
    shape = (count,) if column.width == 1 else (count, column.width)
    if count == 0:
        return np.zeros(shape, column.dtype)
    if file.stat().st_size < count * column.row_bytes:
        raise ValueError(f"{file.name} is cut off")
    return np.memmap(file, column.dtype, "r+" if os.access(file, os.W_OK) else "r", shape=shape)


def overwrite(rows: Rows, places: NDArray[np.int64]) -> None:
    """Fill rows with zeros, in every file. Under the lock."""
    for column in rows.columns.values():
        column[places] = np.zeros((), column.dtype)
    flush(rows.columns)


def flush(columns: Mapping[str, Array]) -> None:
    """Ask for what was changed to be on disk."""
    for column in columns.values():
        if isinstance(column, np.memmap):
            column.flush()

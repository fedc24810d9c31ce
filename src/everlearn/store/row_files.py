"""Rows of fixed width in one folder: appended at the end, wiped in place, read through memory, shared by processes.

What lies here is derived (an index over the vectors of lessons) and too large to be read at every start. One that
appends or rewrites does so under a lock and publishes with one renamed file. A forgotten row is overwritten with zeros
where it lies, before the call returns (`row_folder.wipe`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.store.faults import read_only, translated
from everlearn.store.ids import new_id
from everlearn.store.row_checks import row_checks
from everlearn.store.row_folder import (
    ID,
    ID_TYPE,
    LAYOUT,
    Array,
    Column,
    Rows,
    locked,
    manifest_of,
    mapped,
    overwrite,
    publish,
    sweep,
)

_log = logging.getLogger(__name__)
_CHECK = "check"  # of the columns that are read at every start
_LAZY_CHECK = "lazy_check"  # of those that are read row by row


class MovedError(Exception):
    """The folder is not as the caller knew it: read it again, then decide again. Internal."""


@final
class RowFiles:
    """A folder of rows.

    Args:
        folder: made when something is written.
        columns: the column "id" (ascii, at most 26 bytes, unique) is added to them.
        kind: what the rows are made from and how; a folder of another kind counts as empty.
    """

    def __init__(self, folder: Path, columns: Sequence[Column], kind: str) -> None:
        self.folder = Path(folder)
        self._kind = kind
        given = (Column(ID, ID_TYPE), *columns)
        self._checked = {lazy: [c for c in given if c.lazy is lazy] for lazy in (False, True)}
        self._columns = (*given, Column(_CHECK, "<u8"), Column(_LAZY_CHECK, "<u8"))
        self._description = [[c.name, c.dtype, c.width] for c in self._columns]

    def prepare(self) -> None:
        """Make the folder where there is none.

        Raises:
            StoreError: it cannot be written.
        """
        with translated(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise read_only(self.folder)

    def read(self) -> Rows | None:
        """The rows as they were published last; None where there are none of this kind, or they are damaged."""
        manifest = manifest_of(self.folder)
        if manifest is None or manifest["kind"] != self._kind or manifest["columns"] != self._description:
            return None
        try:
            rows = mapped(self.folder, manifest)
        except (OSError, ValueError, KeyError) as cause:
            _log.warning("the index in %s cannot be read and is built anew: %s", self.folder, cause)
            return None
        bad = int((rows.live() & (self._checks(rows.columns, lazy=False) != rows.columns[_CHECK])).sum())
        if bad:
            _log.warning("%d rows of the index in %s are damaged; it is built anew", bad, self.folder)
            return None
        return rows

    def checked(self, rows: Rows, places: NDArray[np.int64]) -> tuple[dict[str, Array], NDArray[np.bool_]]:
        """The lazy columns of rows [M] as they are now, and [M] whether they are as they were written, or wiped."""
        some = {c.name: rows.columns[c.name][places] for c in self._checked[True]}
        wanted = rows.columns[_LAZY_CHECK][places]
        return some, np.asarray((wanted == 0) | (self._checks(some, lazy=True) == wanted))

    def current(self, rows: Rows) -> bool:
        """Whether nobody has published anything since `rows` was read."""
        manifest = manifest_of(self.folder)
        return manifest is not None and manifest["generation"] == rows.generation and manifest["rows"] == len(rows)

    def append(
        self,
        rows: Rows,
        new: Mapping[str, Array],
        seq: int,
        still: Callable[[], bool],
        wiped: NDArray[np.int64] | None = None,
    ) -> Rows:
        """Add rows at the end.

        Args:
            rows: what was read.
            new: column -> [M] or [M, width].
            seq: change of the store up to which the folder is true then.
            still: asked while nobody else can write: whether what `new` was made from still holds.
            wiped: places of rows to overwrite with zeros, since they are replaced or were removed.

        Raises:
            MovedError: another process published something, or `still` says no; nothing is written.
            StoreError: the folder cannot be written.
        """
        with locked(self.folder):
            if not self.current(rows) or not still():
                raise MovedError
            full = self._complete(new)
            if wiped is not None and len(wiped):
                overwrite(rows, wiped)
            for column in self._columns:
                _write(self.folder / f"{rows.generation}.{column.name}", column, full[column.name], "ab")
            manifest = manifest_of(self.folder)
            assert manifest is not None
            manifest.update(rows=len(rows) + len(full[ID]), seq=seq)
            publish(self.folder, manifest)
            return mapped(self.folder, manifest)

    def replace(
        self, columns: Mapping[str, Array], extra: Mapping[str, Array], seq: int, still: Callable[[], bool]
    ) -> Rows:
        """Make these the rows: new files are written aside, then published; the old ones are removed.

        Raises:
            MovedError: `still` says no; nothing is written.
            StoreError: the folder cannot be written.
        """
        self.prepare()
        with locked(self.folder):
            if not still():
                raise MovedError
            generation = new_id()
            full = self._complete(columns)
            for column in self._columns:
                _write(self.folder / f"{generation}.{column.name}", column, full[column.name], "wb")
            for name, array in extra.items():
                with (self.folder / f"{generation}.{name}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    os.fsync(file.fileno())
            manifest = {
                "layout": LAYOUT,
                "kind": self._kind,
                "generation": generation,
                "rows": len(full[ID]),
                "seq": seq,
                "extra": sorted(extra),
                "columns": self._description,
            }
            publish(self.folder, manifest)
            sweep(self.folder)
            return mapped(self.folder, manifest)

    def stored_bytes(self) -> int:
        """Bytes of the files."""
        return sum(f.stat().st_size for f in self.folder.glob("*"))

    def _complete(self, given: Mapping[str, Array]) -> dict[str, Array]:
        full = {
            c.name: np.ascontiguousarray(given[c.name], c.dtype) for lazy in (False, True) for c in self._checked[lazy]
        }
        return {**full, _CHECK: self._checks(full, lazy=False), _LAZY_CHECK: self._checks(full, lazy=True)}

    def _checks(self, columns: Mapping[str, Array], *, lazy: bool) -> NDArray[np.uint64]:
        return row_checks([columns[c.name] for c in self._checked[lazy]], len(columns[self._checked[lazy][0].name]))


def _write(file: Path, column: Column, values: Array, mode: str) -> None:
    with file.open(mode) as out:
        np.ascontiguousarray(values, column.dtype).tofile(out)
        out.flush()
        os.fsync(out.fileno())

"""What can be computed again (vectors, corrections), kept in a file of its own so that it need not be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from sqlalchemy import Column, Connection, Index, Integer, LargeBinary, MetaData, Table, Text, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from everlearn.errors import StoreCorruptError, StoreError
from everlearn.store.database import Database, FileSettings, batches
from everlearn.store.faults import damaged, read_only, translated

_log = logging.getLogger(__name__)
_LAYOUT = 1  # of the file; another one is thrown away, not converted
_PAGE_BYTES = 1024
ROWS = "entries"  # folder beside the file

# SQLite keeps the start of a long row in a page that it shares with other rows, and leaves copies behind when it moves
# rows between such pages; the rest lies on pages of the row's own, which are zeroed when it is deleted. The shared part
# is therefore filled with zeros and the value starts behind it, so that deleting needs no rebuild of gigabytes.
# Source: SQLite file format, section 1.6 (U = page size: least shared part M, capacity U - 4 of a page of one's own).
_LEAST_SHARED_BYTES = (_PAGE_BYTES - 12) * 32 // 255 - 23
_OWN_PAGE_BYTES = _PAGE_BYTES - 4
_FILLING = bytes(_LEAST_SHARED_BYTES)

_metadata = MetaData()
_values = Table(
    "derived",
    _metadata,
    Column("n", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("lesson_id", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("filling", LargeBinary, nullable=False),
    Column("value", LargeBinary, nullable=False),  # last: padded to whole pages of its own
)
Index("derived_key", _values.c.kind, _values.c.lesson_id, unique=True)
Index("derived_lesson", _values.c.lesson_id)


@final
class SqliteDerivedStore:
    """A `DerivedStore` over one SQLite file.

    A damaged file is deleted and started anew, since a copy moved aside would outlive what is forgotten later. Where
    nothing can be written, values are kept in memory until the process ends. Each of these is logged once.

    Attributes:
        rows: folder for files of rows, which lies beside the file.

    Args:
        path: the file; made, with its folder, if missing.
        busy_ms: milliseconds to wait for another process before giving up.
    """

    def __init__(self, path: Path, *, busy_ms: int = 10_000) -> None:
        self._path = Path(path)
        self.rows: Path | None = self._path.parent / ROWS
        self._settings = FileSettings(synchronous="NORMAL", page_bytes=_PAGE_BYTES, busy_ms=busy_ms)
        self._unsaved: dict[tuple[str, str], bytes] = {}
        self._changing = threading.RLock()
        self._to_scrub = False
        self._told = False
        self._file = self._open()

    def close(self) -> None:
        """Release the files."""
        self._scrub_if_due()
        if self._file is not None:
            self._file.close()

    def get(self, kind: str, ids: Sequence[str]) -> dict[str, bytes]:
        """Those of `ids` that are there, by id."""
        found = {wanted: self._unsaved[kind, wanted] for wanted in ids if (kind, wanted) in self._unsaved}
        if self._file is None:
            return found
        try:
            return _read(self._file, kind, ids) | found
        except StoreCorruptError as error:
            self._start_anew(error)
            return found

    def put(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep values; replaces what was there."""
        if not values:
            return
        try:
            self._write(kind, values)
        except StoreCorruptError as error:
            self._start_anew(error)
            self._write(kind, values)
        except StoreError as error:
            self._tell(error)
            self._unsaved.update({(kind, lesson_id): bytes(value) for lesson_id, value in values.items()})
        self._scrub_if_due()

    def delete(self, ids: Iterable[str]) -> int:
        """Remove everything of these lessons, of every kind, also from files of rows; returns the number of rows.

        Raises:
            StoreError: a row is on disk and cannot be removed from it.
        """
        unwanted = list(dict.fromkeys(ids))
        return self._wipe(unwanted) + self._delete(unwanted)

    def _wipe(self, unwanted: Sequence[str]) -> int:
        if self.rows is None or not unwanted or not self.rows.is_dir():
            return 0
        from everlearn.store.row_folder import wipe  # imports numpy, for the few who have such files

        return wipe(self.rows, unwanted)

    def _delete(self, unwanted: Sequence[str]) -> int:
        unsaved = [key for key in self._unsaved if key[1] in set(unwanted)]
        for key in unsaved:
            del self._unsaved[key]
        try:
            removed = 0 if self._file is None else _remove(self._file, unwanted)
        except StoreCorruptError as error:
            self._start_anew(error)
            return len(unsaved)
        if removed:
            self._to_scrub = True
            self._scrub_if_due()
        return removed + len(unsaved)

    def ids(self) -> set[str]:
        """Lessons of which anything is kept."""
        unsaved = {lesson_id for _, lesson_id in self._unsaved}
        if self._file is None:
            return unsaved
        try:
            with self._file.reading() as connection:
                return unsaved | set(connection.execute(select(_values.c.lesson_id).distinct()).scalars())
        except StoreCorruptError as error:
            self._start_anew(error)
            return unsaved

    def stored_bytes(self) -> int:
        """Bytes of the derived files on disk."""
        rows = sum(f.stat().st_size for f in self.rows.rglob("*") if f.is_file()) if self.rows is not None else 0
        return rows + (0 if self._file is None else self._file.size_bytes())

    def _open(self) -> Database | None:
        try:
            return _opened(self._path, self._settings)
        except StoreCorruptError as error:
            return self._opened_anew(error)
        except StoreError as error:
            self._tell(error)
            return None

    def _opened_anew(self, cause: StoreCorruptError) -> Database | None:
        _log.warning("Vectors and corrections are computed again, since %s", cause.message)
        try:
            _delete_files(self._path)
            return _opened(self._path, self._settings)
        except StoreError as error:
            self._tell(error)
            return None

    def _start_anew(self, cause: StoreCorruptError) -> None:
        with self._changing:
            if self._file is not None:
                self._file.close()
            self._file = self._opened_anew(cause)

    def _write(self, kind: str, values: Mapping[str, bytes]) -> None:
        if self._file is None:
            raise read_only(self._path)
        statement = insert(_values)
        replacing = {name: statement.excluded[name] for name in ("size", "value")}
        statement = statement.on_conflict_do_update(index_elements=["kind", "lesson_id"], set_=replacing)
        with self._file.writing() as connection:
            connection.execute(statement, [_row(kind, lesson_id, value) for lesson_id, value in values.items()])

    def _tell(self, error: StoreError) -> None:
        if not self._told:
            _log.warning("Vectors and corrections are not saved and will be computed again: %s", error)
            self._told = True

    def _scrub_if_due(self) -> None:
        if not self._to_scrub or self._file is None:
            return
        try:
            self._to_scrub = not self._file.scrub(rebuild=False)
        except StoreError as error:
            _log.warning("Bytes of forgotten lessons stay in %s until its next write: %s", self._path, error)


def _opened(path: Path, settings: FileSettings) -> Database:
    database = Database(path, settings)
    try:
        with database.reading() as connection:
            layout = _layout(connection)
        if layout == 0 and database.read_only:
            raise read_only(path)
        if layout == 0:
            with database.writing() as connection:
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {_LAYOUT}")
        elif layout != _LAYOUT:
            raise damaged(path, f"has layout {layout}, not {_LAYOUT}")
    except BaseException:
        database.close()
        raise
    return database


def _layout(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _delete_files(path: Path) -> None:
    with translated(path):
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _row(kind: str, lesson_id: str, value: bytes) -> dict[str, Any]:
    padding = bytes(-len(value) % _OWN_PAGE_BYTES)
    return {
        "kind": kind,
        "lesson_id": lesson_id,
        "size": len(value),
        "filling": _FILLING,
        "value": bytes(value) + padding,
    }


def _read(database: Database, kind: str, ids: Sequence[str]) -> dict[str, bytes]:
    columns = (_values.c.lesson_id, _values.c.size, _values.c.value)
    found: dict[str, bytes] = {}
    with database.reading() as connection:
        for batch in batches(ids):
            rows = connection.execute(select(*columns).where(_values.c.kind == kind, _values.c.lesson_id.in_(batch)))
            found.update((row.lesson_id, row.value[: row.size]) for row in rows)
    return found


def _remove(database: Database, ids: Sequence[str]) -> int:
    with database.reading() as connection:
        counts = [
            connection.execute(
                select(func.count()).select_from(_values).where(_values.c.lesson_id.in_(batch))
            ).scalar_one()
            for batch in batches(ids)
        ]
    if not any(counts):
        return 0
    with database.writing() as connection:
        return sum(
            connection.execute(delete(_values).where(_values.c.lesson_id.in_(batch))).rowcount for batch in batches(ids)
        )

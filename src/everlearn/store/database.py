"""One SQLite file, opened so that several threads and several processes may share it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sqlalchemy import Connection, QueuePool, create_engine, event

from everlearn.store.faults import read_only, translated
from everlearn.store.rules import contains_folded

_RETRY_SECONDS = 0.01
_LONGEST_WAIT_FOR_READERS_MS = 1000
_VARIABLES = 500  # values that one statement may name; SQLite before 3.32 stops at 999
_WRITES = "everlearn_writes"


@dataclass(frozen=True, slots=True)
class FileSettings:
    """How a file is kept.

    Attributes:
        synchronous: "FULL" = a commit is on disk when it returns, "NORMAL" = a power cut may undo the newest ones.
        page_bytes: size of a page; takes effect when the file is made.
        busy_ms: milliseconds to wait for another process before giving up.
    """

    synchronous: str = "FULL"
    page_bytes: int = 4096
    busy_ms: int = 10_000


@final
class Database:
    """Connections to one SQLite file in write-ahead-log mode.

    A file or folder without the right to write is opened for reading: through the log of a process that writes at the
    same time where there is one (`mode=ro`), else as a file that nobody changes (`immutable`). The latter does not see
    what another account writes later; a log that is there but cannot be read is refused rather than ignored.

    Attributes:
        path: the file, absolute.
        closed: whether it was closed; nothing can be read or written then.

    Args:
        path: the file; made, with its folder, if missing.
        settings: how to keep it.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: Path, settings: FileSettings | None = None) -> None:
        self.path = Path(path).absolute()
        self._settings = settings or FileSettings()
        self._writer = threading.Lock()
        self._watching = threading.Lock()
        self.closed = False
        with translated(self.path):
            self._uri = _uri(self.path)
            self._engine = create_engine("sqlite://", creator=self._connect, poolclass=QueuePool, max_overflow=-1)
            event.listen(self._engine, "begin", _begin)
            if not self.read_only:
                _use_write_ahead_log(self._connect, self._settings.busy_ms)
            self._watch = self._connect()

    @property
    def read_only(self) -> bool:
        """Whether only reading is possible."""
        return not self._uri.endswith("mode=rwc")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the file and writes nothing."""
        assert not self.closed, "the store is closed"
        with translated(self.path), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction that holds the right to write from its start; committed at the end, undone on an error.

        Args:
            synced: as the settings say; False = a power cut may undo it, together with what came after it and was not
                synced either. What a killed process had committed stays in any case.
        """
        assert not self.closed, "the store is closed"
        if self.read_only:
            raise read_only(self.path)
        # Threads queue up here, in order; SQLite itself would let them poll.
        with (
            self._writer,
            translated(self.path),
            self._engine.connect().execution_options(**{_WRITES: True}) as connection,
            nullcontext() if synced else _unsynced(connection, self._settings.synchronous),
            connection.begin(),
        ):
            yield connection

    def number(self, query: str) -> int:
        """The one number that a query gives, over a connection kept for such questions: a few microseconds."""
        assert not self.closed, "the store is closed"
        with self._watching, translated(self.path):
            return int(self._watch.execute(query).fetchall()[0][0])

    def scrub(self, *, rebuild: bool) -> bool:
        """Make deleted bytes disappear from the files.

        `secure_delete` zeroes what is deleted, but not the copies that SQLite leaves in the unused part of a page when
        it moves rows between pages; only a rebuild of the file is free of them. What the log still holds goes when it
        is cut.

        Args:
            rebuild: also write the whole file anew; not needed where rows keep their content on pages of their own.

        Returns:
            False when a reader still needs the log: call again later.

        Raises:
            StoreError: no room for the rebuilt file, or another process writes for too long.
        """
        with self._writer, translated(self.path), closing(self._connect()) as connection:
            if rebuild:
                connection.execute("VACUUM")
            # Whoever forgets should not wait long for someone else's reader; what is left is done later.
            connection.execute(
                f"PRAGMA busy_timeout = {min(self._settings.busy_ms, _LONGEST_WAIT_FOR_READERS_MS)}"
            ).fetchall()
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
            return not busy

    def size_bytes(self) -> int:
        """Bytes of the file and its log on disk."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Release the files. May be called twice."""
        self.closed = True
        self._watch.close()
        self._engine.dispose()

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: transactions begin where _begin says, not where Python's driver guesses.
        connection = sqlite3.connect(self._uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        settings = self._settings
        for pragma in (
            f"busy_timeout = {settings.busy_ms}",
            f"page_size = {settings.page_bytes}",
            f"synchronous = {settings.synchronous}",
            "fullfsync = ON",  # macOS: else its disks may keep a commit in their own cache
            "foreign_keys = ON",
            "secure_delete = ON",
            "temp_store = MEMORY",  # a rebuild must not leave the text in a folder of temporary files
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.create_function("contains_folded", 2, contains_folded, deterministic=True)


def batches(values: Iterable[str]) -> Iterator[list[str]]:
    """Values in portions that one statement may name, each value once."""
    rest = list(dict.fromkeys(values))
    for start in range(0, len(rest), _VARIABLES):
        yield rest[start : start + _VARIABLES]


@contextmanager
def _unsynced(connection: Connection, usual: str) -> Iterator[None]:
    """No waiting for the disk at the next commit. SQLite takes this outside of transactions only."""
    driver = connection.connection.driver_connection
    assert driver is not None, "a connection that is closed"
    driver.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        driver.execute(f"PRAGMA synchronous = {usual}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _uri(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return f"{path.as_uri()}?mode=rwc"
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{path.as_uri()}?mode=rwc"
    return _uri_for_reading(path)


def _uri_for_reading(path: Path) -> str:
    uri = f"{path.as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise read_only(path) from error
        return f"{path.as_uri()}?immutable=1"
    return uri


def _use_write_ahead_log(connect: Callable[[], sqlite3.Connection], busy_ms: int) -> None:
    # Two processes that do this to a new file at once get "locked" without the usual waiting, so the waiting is here.
    deadline = time.monotonic() + busy_ms / 1000
    with closing(connect()) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

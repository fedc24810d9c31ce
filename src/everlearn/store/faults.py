"""The one place where SQLite's errors become errors of everlearn."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from everlearn.errors import StoreBusyError, StoreCorruptError, StoreError, StoreFullError, StoreReadOnlyError

_SHORT_OF_SPACE_BYTES = 1 << 20
_RESTORE = (
    "Nothing was changed. Move the file aside (with its -wal and -shm neighbours, if any) and start again with an "
    "empty store, then load a checkpoint."
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise errors of everlearn instead of SQLite's and the file system's.

    Args:
        path: the database file, named in the messages.

    Raises:
        StoreError: or one of its kinds. A broken constraint passes through: that is our mistake, not the caller's.
    """
    try:
        yield
    except DBAPIError as error:
        raise _of_sqlite(path, error.orig) from error
    except sqlite3.Error as error:
        raise _of_sqlite(path, error) from error
    except OSError as error:
        raise _of_system(path, error) from error


def damaged(path: Path, what: str) -> StoreCorruptError:
    """The error for a file that cannot be used as it is, with how to mend it."""
    return StoreCorruptError(f"{path} {what}.", hint=_RESTORE)


def read_only(path: Path) -> StoreReadOnlyError:
    """The error for a write where only reading is possible."""
    return StoreReadOnlyError(
        f"{path} may be read but not written.",
        hint="Give this account the right to write to the file and its folder, or set EVERLEARN_HOME to another one.",
    )


def _full(path: Path) -> StoreFullError:
    hint = "Nothing of this step was written. Free some space on that disk and try again."
    return StoreFullError(f"There is no room left to write {path}.", hint=hint)


def _busy(path: Path) -> StoreBusyError:
    hint = "Nothing of this step was written. Wait for the other process to finish, or end it, and try again."
    return StoreBusyError(f"Another process has held {path} for too long.", hint=hint)


def _of_sqlite(path: Path, error: BaseException | None) -> BaseException:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, f"is damaged or no SQLite database ({error})")
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _short_of_space(path)):
        return _full(path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return read_only(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _busy(path)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return StoreError(
            f"{path} cannot be opened or read ({error}).", hint="Check that it is a file on a sound disk."
        )
    return error if error is not None else AssertionError("an error of the database without a cause")


def _of_system(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return read_only(path)
    hint = "Check that its folder is a folder, or set EVERLEARN_HOME to another one."
    return StoreError(f"{path} cannot be used ({error.strerror or error}).", hint=hint)


def _short_of_space(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _SHORT_OF_SPACE_BYTES
    except OSError:
        return False

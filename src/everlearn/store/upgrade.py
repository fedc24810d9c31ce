"""Bringing a file of an older form up to date, and refusing one that is newer or somebody else's.

Alembic takes a third of a second to import and is needed only when there is something to do, so it is imported then.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection

from everlearn.errors import StoreCorruptError, StoreReadOnlyError
from everlearn.store.database import Database
from everlearn.store.faults import damaged

NEWEST_VERSION = "0010"
MIGRATIONS = Path(__file__).parent / "migrations"
_alembic_in_use = threading.Lock()  # alembic keeps its running migration in a global


def bring_up_to_date(database: Database) -> None:
    """Upgrade the file if it is older than the program; a file that is up to date costs one look.

    Args:
        database: an open file, possibly new and empty.

    Raises:
        StoreCorruptError: the file is newer than the program, or not one of ours.
        StoreReadOnlyError: it would have to be upgraded but may not be written.
    """
    with database.reading() as connection:
        version = _version(connection, database.path)
    if version == NEWEST_VERSION:
        return
    if database.read_only:
        found = f"version {version}" if version else "an empty file"
        raise StoreReadOnlyError(
            f"{database.path} is {found}, must be brought to version {NEWEST_VERSION}, and may not be written.",
            hint="Open it once with an account that may write to it.",
        )
    with _alembic_in_use, database.writing() as connection:
        # Looked at again: another process may have upgraded it while we waited for the right to write.
        if _version(connection, database.path) != NEWEST_VERSION:
            _upgrade(connection, NEWEST_VERSION)


def _version(connection: Connection, path: Path) -> str:
    names = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if not names:
        return ""
    if "alembic_version" not in names:
        raise damaged(path, "is a database of another program")
    version: str = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    if version > NEWEST_VERSION:  # versions are numbers of four digits
        raise StoreCorruptError(
            f"{path} has version {version}, newer than this program, which knows versions up to {NEWEST_VERSION}.",
            hint="Upgrade everlearn, or load a checkpoint into another folder.",
        )
    return version


def _upgrade(connection: Connection, version: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)

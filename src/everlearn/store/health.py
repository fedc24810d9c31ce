"""Is a file of the store sound? Looked at without changing it: nothing is brought up to date, mended or begun."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def flaw_of(path: Path) -> str:
    """What SQLite finds wrong with the form of a file.

    Args:
        path: an existing file of the store.

    Returns:
        The first flaw as a sentence; empty where there is none.
    """
    try:
        with closing(_for_reading(path)) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if answer == "ok" else str(answer)


def layout_of(path: Path) -> str:
    """Number of the newest migration that a sound `lessons.db` has been through; empty where it has none."""
    with closing(_for_reading(path)) as connection:
        named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if named else None
    return str(found[0]) if found else ""


def _for_reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

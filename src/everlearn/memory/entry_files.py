"""Where the entries of large tables lie: a folder for each encoder, in it one for each table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from everlearn.memory.coded import CodedLists, form
from everlearn.store.row_files import RowFiles
from everlearn.store.row_folder import Column, delete

_FORM = 2  # raise it when the columns below change


def open_files(root: Path, kind: str, width: int, table: str) -> RowFiles:
    """The folder of one table's entries whose vectors [K = width] are of this kind."""
    columns = (
        Column("words", "<u8"),
        Column("spans", "<i8", 2),
        Column("contextual", "u1"),
        Column("lists", "<i4", 2),
        Column("codes", "u1", 2 * CodedLists.bytes_of(width)),
        Column("vectors", "<f2", width, lazy=True),
    )
    return RowFiles(folder_of(root, kind, table), columns, f"{kind}/{form()}/{_FORM}")


def folder_of(root: Path, kind: str, table: str) -> Path:
    """Where a table's entries lie; any name makes a folder name."""
    return Path(root) / _digest(kind) / _digest(table)


def delete_table(root: Path, table: str) -> None:
    """Remove the files of a table, whatever encoder made them."""
    for folder in Path(root).glob(f"*/{_digest(table)}"):
        delete(folder)


def delete_tables_but(root: Path, tables: Iterable[str]) -> None:
    """Remove the files of all other tables than these, whatever encoder made them."""
    kept = {_digest(table) for table in tables}
    for folder in Path(root).glob("*/*"):
        if folder.name not in kept:
            delete(folder)


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()

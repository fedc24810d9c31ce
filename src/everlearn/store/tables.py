"""Look-up tables and how far imports into them came, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects.sqlite import insert

from everlearn.records import TableInfo, TableSettings
from everlearn.store import log
from everlearn.store.chain import DELETED, table_digest
from everlearn.store.database import batches
from everlearn.store.port import EACH_ITS_OWN, ImportProgress
from everlearn.store.rows import settings_of, settings_row
from everlearn.store.rules import table_not_found
from everlearn.store.schema import imports, lessons, lookup_tables


def names(connection: Connection) -> list[str]:
    """Names of all tables, sorted."""
    return list(connection.execute(select(lookup_tables.c.name).order_by(lookup_tables.c.name)).scalars())


def require(connection: Connection, wanted: Iterable[str]) -> None:
    """Make sure that tables are there.

    Raises:
        TableNotFoundError: one is not; the hint names the nearest.
    """
    known = names(connection)
    for name in sorted(wanted):
        if name not in known:
            raise table_not_found(name, known)


def listed(connection: Connection) -> list[TableInfo]:
    """All tables by name, with how many lessons they hold."""
    held = select(lessons.c.table_name, lessons.c.status, func.count().label("held")).group_by(
        lessons.c.table_name, lessons.c.status
    )
    counts = {(row.table_name, row.status): int(row.held) for row in connection.execute(held)}
    rows = connection.execute(select(lookup_tables).order_by(lookup_tables.c.name))
    return [
        TableInfo(
            row.name,
            settings_of(row),
            *(counts.get((row.name, status), 0) for status in ("active", "superseded", "quarantined")),
        )
        for row in rows
    ]


def get(connection: Connection, name: str) -> TableSettings:
    """Settings of a table.

    Raises:
        TableNotFoundError: no such table; the hint names the nearest.
    """
    row = connection.execute(select(lookup_tables).where(lookup_tables.c.name == name)).first()
    if row is None:
        raise table_not_found(name, names(connection))
    return settings_of(row)


def put(connection: Connection, name: str, settings: TableSettings) -> None:
    """Create a table or change its settings."""
    row = settings_row(name, settings)
    connection.execute(insert(lookup_tables).values(row).on_conflict_do_update(index_elements=["name"], set_=row))
    log.record(connection, "table", [("", name, table_digest(settings))])


def remove(connection: Connection, name: str) -> None:
    """Delete a table that holds no lesson, with its import records."""
    connection.execute(delete(lookup_tables).where(lookup_tables.c.name == name))
    log.record(connection, "table", [("", name, DELETED)])


def replace_all(connection: Connection, settings: Mapping[str, TableSettings]) -> None:
    """Make these all the tables there are. No lesson may be stored at that time."""
    before = names(connection)
    connection.execute(delete(lookup_tables))
    if settings:
        connection.execute(lookup_tables.insert(), [settings_row(name, its) for name, its in settings.items()])
    log.record(connection, "table", _events(before, settings))


def _events(before: Iterable[str], settings: Mapping[str, TableSettings]) -> list[tuple[str, str, str]]:
    names = sorted({*before, *settings})
    return [("", name, table_digest(settings[name]) if name in settings else DELETED) for name in names]


def lesson_ids(connection: Connection, name: str) -> list[str]:
    """Ids of all lessons of a table, oldest first."""
    return list(
        connection.execute(select(lessons.c.id).where(lessons.c.table_name == name).order_by(lessons.c.n)).scalars()
    )


def lines_imported(connection: Connection, digest: str, table: str) -> int:
    """How many lines of the file with this digest are in the table already; 0 when never seen."""
    wanted = select(imports.c.lines).where(imports.c.digest == digest, imports.c.table_name == table)
    return connection.execute(wanted).scalar() or 0


def drop_imports(connection: Connection, touched: Iterable[str]) -> None:
    """Remove the records of imports that may have brought lessons into these tables."""
    for batch in batches(touched):
        brought = or_(imports.c.table_name.in_(batch), imports.c.digest.endswith(EACH_ITS_OWN))
        connection.execute(delete(imports).where(brought))


def record_import(connection: Connection, progress: ImportProgress) -> None:
    """Keep how far an import came.

    Raises:
        TableNotFoundError: its table is not there.
    """
    require(connection, [progress.table])
    row = {"digest": progress.digest, "table_name": progress.table, "lines": progress.lines}
    keys = ["digest", "table_name"]
    connection.execute(insert(imports).values(row).on_conflict_do_update(index_elements=keys, set_=row))

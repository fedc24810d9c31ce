"""Writing and removing lessons, each inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, bindparam, delete, select, update

from everlearn.records import Lesson
from everlearn.store import log, proposals, schema, tables, turns
from everlearn.store.database import batches
from everlearn.store.port import StaleError
from everlearn.store.rows import lesson_row
from everlearn.store.rules import lesson_not_found, not_quarantined
from everlearn.store.schema import lessons


@dataclass(frozen=True, slots=True)
class _Link:
    """Where a stored lesson stands in its chain."""

    n: int
    id: str
    table: str
    status: str
    superseded_by: str | None


def insert(connection: Connection, new: Sequence[Lesson]) -> None:
    """Add complete lessons and record them as taught.

    Raises:
        TableNotFoundError: a lesson's table is not there.
    """
    tables.require(connection, {lesson.table for lesson in new})
    if new:
        connection.execute(lessons.insert(), [lesson_row(lesson) for lesson in new])
    log.record_taught(connection, new)


def supersede(connection: Connection, replaced: Mapping[str, str]) -> None:
    """Mark stored lessons as replaced.

    Args:
        connection: with the right to write.
        replaced: id of an active lesson -> id of the lesson that replaces it.

    Raises:
        LessonNotFoundError: a lesson to replace is not there.
        StaleError: it has been replaced by another one meanwhile.
    """
    links = _links(connection, replaced)
    for old in replaced:
        if old not in links:
            raise lesson_not_found(old)
        if links[old].status != "active":
            raise StaleError(f"lesson {old} is superseded already")
    _link(connection, replaced)
    log.record(connection, "superseded", [(old, links[old].table) for old in replaced])


def release(connection: Connection, lesson: Lesson) -> None:
    """Make a quarantined lesson active.

    Raises:
        LessonError: it is not quarantined.
    """
    if lesson.status != "quarantined":
        raise not_quarantined(lesson)
    connection.execute(update(lessons).where(lessons.c.id == lesson.id).values(status="active"))
    log.record(connection, "released", [(lesson.id, lesson.table)])


def remove(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Delete lessons, turns that rest on them and records of their imports; close the gaps they leave in chains.

    Args:
        connection: with the right to write.
        ids: of lessons, each once.

    Returns:
        Ids of lessons that became active again, oldest first.

    Raises:
        LessonNotFoundError: an id is unknown.
    """
    gone = _links(connection, ids)
    for lesson_id in ids:
        if lesson_id not in gone:
            raise lesson_not_found(lesson_id)
    turns.remove_resting_on(connection, ids)
    proposals.remove(connection, ids)
    tables.drop_imports(connection, sorted({link.table for link in gone.values()}))
    orphans = _superseded_by(connection, gone)
    heirs = {orphan.id: _successor(orphan.superseded_by, gone) for orphan in orphans}
    _link(connection, heirs)
    for batch in batches(ids):
        connection.execute(delete(lessons).where(lessons.c.id.in_(batch)))
    log.record(connection, "forgotten", [(lesson_id, gone[lesson_id].table) for lesson_id in ids])
    log.record(connection, "superseded", [(o.id, o.table) for o in orphans if heirs[o.id] is not None])
    log.record(connection, "restored", [(o.id, o.table) for o in orphans if heirs[o.id] is None])
    return [orphan.id for orphan in orphans if heirs[orphan.id] is None]


def remove_all(connection: Connection) -> None:
    """Delete every lesson and every turn, and record each lesson as forgotten."""
    turns.remove_all(connection)
    connection.execute(delete(schema.proposals))
    there = connection.execute(select(lessons.c.id, lessons.c.table_name).order_by(lessons.c.n)).all()
    connection.execute(delete(lessons))
    log.record(connection, "forgotten", [(row.id, row.table_name) for row in there])


def _links(connection: Connection, ids: Iterable[str]) -> dict[str, _Link]:
    return {link.id: link for link in _select_links(connection, lessons.c.id, ids)}


def _superseded_by(connection: Connection, gone: Mapping[str, _Link]) -> list[_Link]:
    """The lessons that stay and had been replaced by one that goes, oldest first."""
    followers = _select_links(connection, lessons.c.superseded_by, gone)
    return sorted((link for link in followers if link.id not in gone), key=lambda link: link.n)


def _select_links(connection: Connection, column: Column[str], values: Iterable[str]) -> Iterator[_Link]:
    for batch in batches(values):
        for row in connection.execute(select(lessons).where(column.in_(batch))):
            yield _Link(row.n, row.id, row.table_name, row.status, row.superseded_by)


def _successor(lesson_id: str | None, gone: Mapping[str, _Link]) -> str | None:
    while lesson_id is not None and lesson_id in gone:
        lesson_id = gone[lesson_id].superseded_by
    return lesson_id


def _link(connection: Connection, heirs: Mapping[str, str | None]) -> None:
    statement = update(lessons).where(lessons.c.id == bindparam("old"))
    statement = statement.values(status=bindparam("new_status"), superseded_by=bindparam("heir"))
    rows = [{"old": old, "heir": heir, "new_status": "superseded" if heir else "active"} for old, heir in heirs.items()]
    if rows:
        connection.execute(statement, rows)

"""The change log: what happened, in the order in which it was committed, for every process to follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select

from everlearn.records import Lesson
from everlearn.store.port import Change
from everlearn.store.schema import changes


def newest(connection: Connection) -> int:
    """Number of the newest change; 0 when nothing happened yet."""
    return connection.execute(select(func.max(changes.c.seq))).scalar() or 0


def since(connection: Connection, seq: int) -> list[Change]:
    """All changes after number `seq`, oldest first."""
    rows = connection.execute(select(changes).where(changes.c.seq > seq).order_by(changes.c.seq))
    return [Change(row.seq, row.kind, row.lesson_id, row.table_name) for row in rows]


def record(connection: Connection, kind: str, lessons: Iterable[tuple[str, str]]) -> None:
    """Append one change of this kind per (lesson id, table name)."""
    rows = [{"kind": kind, "lesson_id": lesson_id, "table_name": table} for lesson_id, table in lessons]
    if rows:
        connection.execute(changes.insert(), rows)


def record_taught(connection: Connection, lessons: Sequence[Lesson]) -> None:
    """Append what teaching these lessons did, apart from what they replaced elsewhere."""
    record(connection, "taught", [(lesson.id, lesson.table) for lesson in lessons])
    record(connection, "superseded", [(lesson.id, lesson.table) for lesson in lessons if lesson.superseded_by])


def was_forgotten(connection: Connection, lesson_id: str) -> bool:
    """Whether a lesson with this id was there once and was forgotten."""
    found = select(changes.c.seq).where(changes.c.lesson_id == lesson_id, changes.c.kind == "forgotten").limit(1)
    return connection.execute(found).first() is not None

"""The change log: what happened, in the order in which it was committed, for every process to follow."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from everlearn.store.chain import Event, link
from everlearn.store.port import Change
from everlearn.store.schema import changes


def newest(connection: Connection) -> int:
    """Number of the newest change; 0 when nothing happened yet."""
    return connection.execute(select(func.max(changes.c.seq))).scalar() or 0


def since(connection: Connection, seq: int) -> list[Change]:
    """All changes after number `seq`, oldest first."""
    rows = connection.execute(select(changes).where(changes.c.seq > seq).order_by(changes.c.seq))
    return [Change(r.seq, r.kind, r.lesson_id, r.table_name, r.detail, r.hash) for r in rows]


def record(connection: Connection, kind: str, writes: Iterable[tuple[str, str, str]]) -> None:
    """Append one event of this kind per (lesson id, table name, detail), each linked to the one before it."""
    last = connection.execute(select(changes.c.seq, changes.c.hash).order_by(changes.c.seq.desc()).limit(1)).first()
    before = "" if last is None else last.hash
    seq, at = highest(connection), time.time_ns() // 1000
    rows = []
    for lesson_id, table, detail in writes:
        seq += 1
        event = Event(seq, kind, lesson_id, table, detail, at, "")
        before = link(before, event)
        rows.append(
            {
                "seq": seq,
                "kind": kind,
                "lesson_id": lesson_id,
                "table_name": table,
                "detail": detail,
                "at": at,
                "hash": before,
            }
        )
    if rows:
        connection.execute(changes.insert(), rows)


def highest(connection: Connection) -> int:
    """The highest number that an event ever had, removed ones included."""
    there = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").scalar()
    return max(int(there or 0), newest(connection))


def events(connection: Connection) -> list[Event]:
    """The whole chain, by number."""
    rows = connection.execute(select(changes).order_by(changes.c.seq))
    return [Event(r.seq, r.kind, r.lesson_id, r.table_name, r.detail, r.at, r.hash) for r in rows]


def was_forgotten(connection: Connection, lesson_id: str) -> bool:
    """Whether a lesson with this id was there once and was forgotten."""
    found = select(changes.c.seq).where(changes.c.lesson_id == lesson_id, changes.c.kind == "forgotten").limit(1)
    return connection.execute(found).first() is not None

"""Who did what over the network: append-only, each entry carrying the hash of the one before it.

    hash(n) = sha256( hash(n - 1), n, time, key, action, target, status, request )

Beside the chain over lessons (`chain.py`), which says what became of each lesson, this one says who asked for it.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any, final

from sqlalchemy import Row, select

from everlearn.store.database import Database
from everlearn.store.schema import audit


@final
@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done, or refused.

    Attributes:
        n: its number, from 1.
        at: microseconds since 1970.
        key_id: by which key; empty where none was needed.
        action: method and route, such as "DELETE /v1/lessons/{lesson_id}".
        target: id of what it was done to; empty where there is none.
        status: as it was answered.
        request_id: of the request.
        hash: of this entry and all before it.
    """

    n: int
    at: int
    key_id: str
    action: str
    target: str
    status: int
    request_id: str
    hash: str = ""


@final
class AuditLog:
    """The log of one tenant.

    Args:
        database: the file of its lessons.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key_id: str, action: str, target: str, status: int, request_id: str) -> None:
        """Append an entry; on disk when this returns."""
        with self._database.writing() as connection:
            last = connection.execute(select(audit.c.n, audit.c.hash).order_by(audit.c.n.desc()).limit(1)).first()
            number, before = (last.n, last.hash) if last is not None else (0, "")
            at = time.time_ns() // 1000
            entry = AuditEntry(number + 1, at, key_id, action, target, status, request_id)
            connection.execute(
                audit.insert().values(
                    n=entry.n,
                    at=entry.at,
                    key_id=key_id,
                    action=action,
                    target=target,
                    status=status,
                    request_id=request_id,
                    hash=_link(before, entry),
                )
            )

    def entries(self, *, limit: int = 100, before: int = 0) -> list[AuditEntry]:
        """Entries, newest first; with `before` those with a lower number."""
        wanted = select(audit).order_by(audit.c.n.desc()).limit(limit)
        if before:
            wanted = wanted.where(audit.c.n < before)
        with self._database.reading() as connection:
            return [_entry(row) for row in connection.execute(wanted)]

    def flaws(self) -> list[str]:
        """What does not fit in the chain: entries that were changed, taken out or put in. Empty where all is well.

        Entries that were cut off at the end do not show here: keep the hash of the newest elsewhere to see that.
        """
        found, before, number = [], "", 0
        with self._database.reading() as connection:
            for row in connection.execute(select(audit).order_by(audit.c.n)):
                entry, number = _entry(row), number + 1
                if entry.n != number:
                    found.append(f"entry {number} is missing.")
                    number = entry.n
                if entry.hash != _link(before, entry):
                    found.append(f"entry {entry.n} was changed, or what was before it.")
                before = entry.hash
        return found


def _link(before: str, entry: AuditEntry) -> str:
    parts = [before, entry.n, entry.at, entry.key_id, entry.action, entry.target, entry.status, entry.request_id]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(row.n, row.at, row.key_id, row.action, row.target, row.status, row.request_id, row.hash)

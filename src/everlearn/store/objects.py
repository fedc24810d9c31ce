"""What a server keeps for its clients, in the file of the lessons: responses, files, batches, jobs.

An object that rests on a turn goes with that turn, in the same transaction: when a lesson is forgotten, the answers
that it spoke in are gone from here as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from everlearn.errors import NotFoundError
from everlearn.store.database import Database
from everlearn.store.schema import objects, turns

MOST_LISTED = 10_000


@final
@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a client.

    Attributes:
        id: of the object, unique in its file.
        kind: "response", "file", "batch", ...
        body: what the server made of it; JSON.
        parent: id of the object that it belongs to, or empty.
        turn_id: of the turn that it rests on, or empty: it goes with that turn.
        created_at: seconds since 1970.
    """

    id: str
    kind: str
    body: Mapping[str, Any]
    parent: str = ""
    turn_id: str = ""
    created_at: int = 0


@final
class ObjectStore:
    """Objects of one tenant.

    Args:
        database: the file of its lessons.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, thing: StoredObject) -> bool:
        """Keep an object, or its new body where it is kept already; on disk when this returns.

        Returns:
            False where the turn that it rests on is not there any more: then nothing is kept.
        """
        with self._database.writing() as connection:
            there = turns.c.id == thing.turn_id
            if thing.turn_id and connection.execute(select(turns.c.n).where(there)).first() is None:
                return False
            body = json.dumps(thing.body, ensure_ascii=False)
            if _row(connection, thing.kind, thing.id) is not None:
                connection.execute(update(objects).where(objects.c.id == thing.id).values(body=body))
                return True
            row = {"id": thing.id, "kind": thing.kind, "parent": thing.parent, "turn_id": thing.turn_id or None}
            made = thing.created_at or int(time.time())
            connection.execute(insert(objects).values(**row, created_at=made, body=body))
            return True

    def change(
        self, kind: str, object_id: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> StoredObject:
        """Put in place of an object's body what is made of it; nobody else changes it meanwhile.

        Raises:
            NotFoundError: there is none of this kind and id.
        """
        with self._database.writing() as connection:
            row = _row(connection, kind, object_id)
            if row is None:
                raise _not_found(kind, object_id)
            body = dict(change(json.loads(row.body)))
            connection.execute(
                update(objects).where(objects.c.id == object_id).values(body=json.dumps(body, ensure_ascii=False))
            )
            return replace(_object(row), body=body)

    def get(self, kind: str, object_id: str) -> StoredObject:
        """One object.

        Raises:
            NotFoundError: there is none of this kind and id.
        """
        with self._database.reading() as connection:
            row = _row(connection, kind, object_id)
        if row is None:
            raise _not_found(kind, object_id)
        return _object(row)

    def listed(
        self, kind: str, *, parent: str | None = None, limit: int = MOST_LISTED, after: str = "", oldest: bool = False
    ) -> list[StoredObject]:
        """Objects of a kind, newest first.

        Args:
            kind: of which.
            parent: only those that belong to this object.
            limit: how many at most.
            after: id of the object behind which the list goes on.
            oldest: oldest first.
        """
        place = objects.c.n.asc() if oldest else objects.c.n.desc()
        wanted = select(objects).where(objects.c.kind == kind).order_by(place).limit(limit)
        if parent is not None:
            wanted = wanted.where(objects.c.parent == parent)
        with self._database.reading() as connection:
            if after:
                row = _row(connection, kind, after)
                if row is None:
                    return []
                wanted = wanted.where(objects.c.n > row.n if oldest else objects.c.n < row.n)
            return [_object(row) for row in connection.execute(wanted)]

    def count(self, kind: str, parent: str) -> int:
        """How many objects of a kind belong to another."""
        wanted = select(func.count()).select_from(objects).where(objects.c.kind == kind, objects.c.parent == parent)
        with self._database.reading() as connection:
            return int(connection.execute(wanted).scalar_one())

    def delete(self, kind: str, object_id: str) -> None:
        """Remove an object and all that belong to it.

        Raises:
            NotFoundError: there is none of this kind and id.
        """
        with self._database.writing() as connection:
            if _row(connection, kind, object_id) is None:
                raise _not_found(kind, object_id)
            connection.execute(delete(objects).where(objects.c.parent == object_id))
            connection.execute(delete(objects).where(objects.c.id == object_id))


def _row(connection: Connection, kind: str, object_id: str) -> Row[Any] | None:
    return connection.execute(select(objects).where(objects.c.kind == kind, objects.c.id == object_id)).first()


def _object(row: Row[Any]) -> StoredObject:
    return StoredObject(row.id, row.kind, json.loads(row.body), row.parent, row.turn_id or "", row.created_at)


def _not_found(kind: str, object_id: str) -> NotFoundError:
    return NotFoundError(f"There is no {kind} {object_id!r}.", hint="It may have been deleted or forgotten.")

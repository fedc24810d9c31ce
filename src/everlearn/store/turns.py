"""Kept turns and which lessons they rest on, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, func, select

from everlearn.records import Turn
from everlearn.store import log
from everlearn.store.database import batches
from everlearn.store.rows import turn_of, turn_row
from everlearn.store.rules import lesson_not_found, spoken_by, turn_not_found
from everlearn.store.schema import lessons, turn_lessons, turns


def add(connection: Connection, turn: Turn) -> None:
    """Keep a turn, unless a lesson that it rests on was forgotten since it was answered.

    Another process may forget the lesson between the answer and this call. The turn is then left out, which is what
    would have become of it had it been kept a moment earlier.

    Raises:
        LessonNotFoundError: it rests on a lesson that never was.
    """
    spoken = spoken_by(turn)
    for lesson_id in spoken:
        if connection.execute(select(lessons.c.n).where(lessons.c.id == lesson_id)).first() is None:
            if log.was_forgotten(connection, lesson_id):
                return
            raise lesson_not_found(lesson_id)
    connection.execute(turns.insert(), turn_row(turn))
    if spoken:
        links = [{"turn_id": turn.id, "lesson_id": lesson_id} for lesson_id in spoken]
        connection.execute(turn_lessons.insert(), links)


def one(connection: Connection, turn_id: str) -> Turn:
    """A kept turn.

    Raises:
        NotFoundError: no turn has this id.
    """
    row = connection.execute(select(turns).where(turns.c.id == turn_id)).first()
    if row is None:
        raise turn_not_found(turn_id)
    return turn_of(row)


def of_session(connection: Connection, session: str) -> list[Turn]:
    """Turns of a session, oldest first."""
    rows = connection.execute(select(turns).where(turns.c.session == session).order_by(turns.c.n))
    return [turn_of(row) for row in rows]


def count_resting_on(connection: Connection, lesson_id: str) -> int:
    """How many kept turns forgetting this lesson would remove."""
    return int(connection.execute(select(func.count()).select_from(turns).where(_resting_on([lesson_id]))).scalar_one())


def remove_resting_on(connection: Connection, ids: Sequence[str]) -> None:
    """Delete the turns that rest on any of these lessons, and those after them in the same conversation.

    A later answer had the earlier one in its context and may quote it.
    """
    found = (connection.execute(select(turns.c.id).where(_resting_on(batch))).scalars() for batch in batches(ids))
    doomed = list({turn_id for some in found for turn_id in some})
    for batch in batches(doomed):
        connection.execute(delete(turns).where(turns.c.id.in_(batch)))  # their links go with them


def _resting_on(ids: Sequence[str]) -> ColumnElement[bool]:
    """Condition on `turns`: one of these lessons spoke in it, or before it in the same conversation."""
    spoke = turns.alias("spoke")
    earlier = (
        select(spoke.c.n)
        .join(turn_lessons, turn_lessons.c.turn_id == spoke.c.id)
        .where(turn_lessons.c.lesson_id.in_(ids), spoke.c.session == turns.c.session, spoke.c.n <= turns.c.n)
    )
    return earlier.correlate(turns).exists()


def remove_all(connection: Connection) -> None:
    """Delete every turn."""
    connection.execute(delete(turns))

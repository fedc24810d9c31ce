"""Finding lessons: by id, by query, by their chain, by the start of an id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, or_, select

from everlearn.records import Lesson
from everlearn.store.database import batches
from everlearn.store.port import LessonQuery
from everlearn.store.rows import lesson_of
from everlearn.store.rules import lesson_not_found, the_one
from everlearn.store.schema import lessons
from everlearn.store.times import micros


def one(connection: Connection, lesson_id: str) -> Lesson:
    """One lesson.

    Raises:
        LessonNotFoundError: no lesson has this id.
    """
    row = connection.execute(select(lessons).where(lessons.c.id == lesson_id)).first()
    if row is None:
        raise lesson_not_found(lesson_id)
    return lesson_of(row)


def by_id(connection: Connection, ids: Sequence[str]) -> dict[str, Lesson]:
    """Those of `ids` that exist, by id."""
    found: dict[str, Lesson] = {}
    for batch in batches(ids):
        rows = connection.execute(select(lessons).where(lessons.c.id.in_(batch)))
        found.update((row.id, lesson_of(row)) for row in rows)
    return found


def matching(connection: Connection, query: LessonQuery) -> list[Lesson]:
    """Lessons that match, oldest first."""
    wanted = _where(select(lessons), query).order_by(lessons.c.n).limit(query.limit).offset(query.offset)
    return [lesson_of(row) for row in connection.execute(wanted)]


def prompts(connection: Connection, query: LessonQuery) -> list[tuple[str, str]]:
    """(id, prompt) of lessons that match, oldest first."""
    wanted = _where(select(lessons.c.id, lessons.c.prompt), query)
    wanted = wanted.order_by(lessons.c.n).limit(query.limit).offset(query.offset)
    return [(row[0], row[1]) for row in connection.execute(wanted)]


def count(connection: Connection, query: LessonQuery) -> int:
    """How many lessons match, limit and offset ignored."""
    return int(connection.execute(_where(select(func.count(lessons.c.n)), query)).scalar_one())


def chain(connection: Connection, lesson_id: str) -> list[Lesson]:
    """All that a lesson superseded, itself, and all that superseded it; oldest first.

    Raises:
        LessonNotFoundError: no lesson has this id.
    """
    one(connection, lesson_id)
    older = select(lessons.c.id).where(lessons.c.id == lesson_id).cte("older", recursive=True)
    older = older.union(select(lessons.c.id).where(lessons.c.superseded_by == older.c.id))
    newer = select(lessons.c.superseded_by).where(lessons.c.id == lesson_id).cte("newer", recursive=True)
    newer = newer.union(select(lessons.c.superseded_by).where(lessons.c.id == newer.c.superseded_by))
    members = or_(lessons.c.id.in_(select(older.c.id)), lessons.c.id.in_(select(newer.c.superseded_by)))
    return [lesson_of(row) for row in connection.execute(select(lessons).where(members).order_by(lessons.c.n))]


def resolve(connection: Connection, prefix: str) -> str:
    """The one lesson id that starts with `prefix`.

    Raises:
        LessonNotFoundError: the prefix is too short, or none or several do.
    """
    starts = lessons.c.id.between(prefix, prefix + chr(0x10FFFF))
    return the_one(
        prefix, list(connection.execute(select(lessons.c.id).where(starts).order_by(lessons.c.id).limit(2)).scalars())
    )


def _where(statement: Select[Any], query: LessonQuery) -> Select[Any]:
    assert query.limit >= 0, "a negative limit"
    assert query.offset >= 0, "a negative offset"
    if query.table is not None:
        statement = statement.where(lessons.c.table_name == query.table)
    if query.status is not None:
        statement = statement.where(lessons.c.status == query.status)
    if query.domain is not None:
        statement = statement.where(lessons.c.domain == query.domain)
    if query.source is not None:
        statement = statement.where(lessons.c.source == query.source)
    if query.kind is not None:
        statement = statement.where(lessons.c.kind == query.kind)
    if query.as_of is not None:
        statement = statement.where(_holding(query.as_of))
    if query.text is not None:
        folded = query.text.casefold()
        columns = (lessons.c.prompt, lessons.c.answer, lessons.c.context)
        statement = statement.where(or_(*(func.contains_folded(column, folded) for column in columns)))
    return statement


def _holding(moment: datetime) -> ColumnElement[bool]:
    """Condition on `lessons`: they hold at that moment; the same as `everlearn.store.times.holds`."""
    successor = lessons.alias("successor")
    at = micros(moment)
    replaced = select(successor.c.n).where(successor.c.id == lessons.c.superseded_by, _start(successor) <= at)
    open_end = or_(lessons.c.valid_to.is_(None), lessons.c.valid_to > at)
    return and_(_start(lessons) <= at, open_end, ~replaced.correlate(lessons).exists())


def _start(table: FromClause) -> ColumnElement[int]:
    return func.coalesce(table.c.valid_from, table.c.taught_at)

"""Writing and removing lessons, each inside the caller's transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, Connection, bindparam, delete, select, update

from everlearn.records import Lesson
from everlearn.store import log, proposals, schema, tables, turns
from everlearn.store.chain import QUARANTINED, SALT_BYTES, lesson_digest
from everlearn.store.database import batches
from everlearn.store.rows import lesson_of, lesson_row
from everlearn.store.rules import check_links, lesson_not_found, not_quarantined
from everlearn.store.schema import conflicts, lessons


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
        LessonNotFoundError: a lesson is superseded by one that is neither stored nor among them.
    """
    tables.require(connection, {lesson.table for lesson in new})
    own = {lesson.id for lesson in new}
    stored = sorted({lesson.superseded_by for lesson in new} - own - {""})
    _require(stored, _links(connection, stored))
    salts = [secrets.token_bytes(SALT_BYTES) for _ in new]
    if new:
        rows = [lesson_row(lesson) | {"salt": salt} for lesson, salt in zip(new, salts, strict=True)]
        connection.execute(lessons.insert(), rows)
    digests = (lesson_digest(lesson, salt) for lesson, salt in zip(new, salts, strict=True))
    log.record(connection, "taught", [_taught(le, digest) for le, digest in zip(new, digests, strict=True)])
    log.record(connection, "superseded", [(le.id, le.table, le.superseded_by) for le in new if le.superseded_by])


def supersede(connection: Connection, replaced: Mapping[str, str], new: Sequence[Lesson]) -> None:
    """Mark stored lessons as replaced.

    Args:
        connection: with the right to write.
        replaced: id of a stored lesson -> id of the lesson that replaces it, or comes between it and its successor.
        new: the lessons that are written with it.

    Raises:
        LessonNotFoundError: a lesson to replace is not there.
        StaleError: it has been replaced by another one meanwhile.
    """
    links = _links(connection, replaced)
    _require(replaced, links)
    check_links(new, replaced, {old: links[old].superseded_by or "" for old in replaced})
    _link(connection, replaced)
    log.record(connection, "superseded", [(old, links[old].table, new_id) for old, new_id in replaced.items()])


def keep_beside(connection: Connection, pairs: Sequence[tuple[str, str]], new: Sequence[Lesson]) -> None:
    """Note that new lessons and others answer one question otherwise and all stay.

    Raises:
        LessonNotFoundError: one of them is not there.
    """
    if not pairs:
        return
    wanted = [lesson_id for pair in pairs for lesson_id in pair]
    _require(wanted, _links(connection, wanted))
    connection.execute(conflicts.insert(), [{"lesson_id": one, "other_id": other} for one, other in pairs])
    homes = {lesson.id: lesson.table for lesson in new}
    others: dict[str, list[str]] = {}
    for one, other in pairs:
        others.setdefault(one, []).append(other)
    log.record(connection, "beside", [(one, homes[one], " ".join(those)) for one, those in others.items()])


def kept_beside(connection: Connection) -> list[tuple[str, str]]:
    """Pairs (newer, older) of active lessons that were kept beside each other, oldest pair first."""
    # In two steps: to sort a join, SQLite looks through all lessons, a seventh of a second for a million of them.
    pairs = [(row.lesson_id, row.other_id) for row in connection.execute(select(conflicts))]
    places: dict[str, int] = {}
    for batch in batches({lesson_id for pair in pairs for lesson_id in pair}):
        wanted = select(lessons.c.id, lessons.c.n).where(lessons.c.id.in_(batch), lessons.c.status == "active")
        places.update((row.id, row.n) for row in connection.execute(wanted))
    there = [(one, other) for one, other in pairs if one in places and other in places]
    return sorted(there, key=lambda pair: (places[pair[0]], places[pair[1]]))


def release(connection: Connection, lesson: Lesson) -> None:
    """Make a quarantined lesson active.

    Raises:
        LessonError: it is not quarantined.
    """
    if lesson.status != "quarantined":
        raise not_quarantined(lesson)
    connection.execute(update(lessons).where(lessons.c.id == lesson.id).values(status="active"))
    log.record(connection, "released", [(lesson.id, lesson.table, "")])


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
    _require(ids, gone)
    digests = dict(_digests(connection, ids))
    turns.remove_resting_on(connection, ids)
    proposals.remove(connection, ids)
    tables.drop_imports(connection, sorted({link.table for link in gone.values()}))
    orphans = _superseded_by(connection, gone)
    heirs = {orphan.id: _successor(orphan.superseded_by, gone) for orphan in orphans}
    _link(connection, heirs)
    for batch in batches(ids):
        connection.execute(delete(lessons).where(lessons.c.id.in_(batch)))
    log.record(connection, "forgotten", [(each, gone[each].table, digests[each]) for each in ids])
    log.record(connection, "superseded", [(o.id, o.table, heir) for o in orphans if (heir := heirs[o.id]) is not None])
    log.record(connection, "restored", [(o.id, o.table, "") for o in orphans if heirs[o.id] is None])
    return [orphan.id for orphan in orphans if heirs[orphan.id] is None]


def remove_all(connection: Connection) -> None:
    """Delete every lesson and every turn, and record each lesson as forgotten."""
    turns.remove_all(connection)
    connection.execute(delete(schema.proposals))
    there = connection.execute(select(lessons).order_by(lessons.c.n)).all()
    connection.execute(delete(lessons))
    writes = [(row.id, row.table_name, lesson_digest(lesson_of(row), row.salt or b"")) for row in there]
    log.record(connection, "forgotten", writes)


def stored_digests(connection: Connection) -> dict[str, tuple[str, str]]:
    """Lesson id -> (digest of what is stored, id of its successor or "")."""
    rows = connection.execute(select(lessons).order_by(lessons.c.n))
    return {
        row.id: (lesson_digest(lesson_of(row), row.salt or b""), _standing(row.status, row.superseded_by))
        for row in rows
    }


def _taught(lesson: Lesson, digest: str) -> tuple[str, str, str]:
    held = lesson.status == QUARANTINED
    return lesson.id, lesson.table, f"{digest} {QUARANTINED}" if held else digest


def _standing(status: str, heir: str | None) -> str:
    return QUARANTINED if status == QUARANTINED else heir or ""


def _digests(connection: Connection, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    for batch in batches(ids):
        for row in connection.execute(select(lessons).where(lessons.c.id.in_(batch))):
            yield row.id, lesson_digest(lesson_of(row), row.salt or b"")


def _links(connection: Connection, ids: Iterable[str]) -> dict[str, _Link]:
    return {link.id: link for link in _select_links(connection, lessons.c.id, ids)}


def _require(wanted: Iterable[str], found: Mapping[str, _Link]) -> None:
    for lesson_id in wanted:
        if lesson_id not in found:
            raise lesson_not_found(lesson_id)


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

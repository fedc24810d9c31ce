"""Lessons in one SQLite file that several threads and several processes share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from sqlalchemy import Connection, select

from everlearn.errors import StoreError
from everlearn.records import Lesson, Proposal, ProposalStatus, TableInfo, TableSettings, Turn
from everlearn.store import find, log
from everlearn.store import lessons as lesson_rows
from everlearn.store import proposals as proposal_rows
from everlearn.store import tables as table_rows
from everlearn.store import turns as turn_rows
from everlearn.store.chain import AuditReport, check, table_digest
from everlearn.store.database import Database, FileSettings
from everlearn.store.ids import new_id
from everlearn.store.port import EVERYTHING, Change, ImportProgress, LessonQuery, StaleError
from everlearn.store.rules import check_lessons, check_tables
from everlearn.store.schema import imports, upkeep
from everlearn.store.upgrade import bring_up_to_date

_log = logging.getLogger(__name__)
_SYNCHRONOUS = "FULL"  # a commit is on disk when it returns
_NEWEST = "SELECT coalesce(max(seq), 0) FROM changes"


@final
class SqliteLessonStore:
    """The durable store: a `LessonStore` over one SQLite file.

    A commit is on disk when the writing method returns (`synchronous=FULL`), but for turns. A file that may only be
    read is opened for reading; writing then raises StoreReadOnlyError (how it is read: see `Database`).

    Forgetting is exact: after `forget`, `delete_table` and `replace_all` the file is rebuilt without what was deleted
    and its log is cut. Where a reader in another process or a full disk prevents that, the lesson is gone for every
    question all the same, and its bytes go with the next write, close or opening.

    Args:
        path: the file; made, with its folder, if missing; upgraded if older than the program.
        busy_ms: milliseconds to wait for another process before giving up.

    Raises:
        StoreCorruptError: the file is damaged, newer than the program, or not one of ours; it is left as it is.
        StoreError: it cannot be opened.
    """

    def __init__(self, path: Path, *, busy_ms: int = 10_000) -> None:
        self._database = Database(path, FileSettings(synchronous=_SYNCHRONOUS, busy_ms=busy_ms))
        try:
            bring_up_to_date(self._database)
            self._to_scrub = not self._database.read_only and bool(self._scrub_notes())
            self._scrub_if_due()
        except BaseException:
            self._database.close()
            raise

    @property
    def database(self) -> Database:
        """Its file, which other tables of the same tenant share."""
        return self._database

    @property
    def folder(self) -> Path | None:
        """Where its files lie."""
        return self._database.path.parent

    def close(self) -> None:
        """Release the files, after removing what is left of forgotten lessons."""
        self._scrub_if_due()
        self._database.close()

    def seq(self) -> int:
        """Number of the newest change; a few microseconds."""
        return self._database.number(_NEWEST)

    def changes(self, since: int) -> list[Change]:
        """All changes after number `since`, oldest first."""
        with self._database.reading() as connection:
            return log.since(connection, since)

    def teach(
        self,
        lessons: Sequence[Lesson],
        superseded: Mapping[str, str],
        *,
        expected_seq: int | None = None,
        progress: ImportProgress | None = None,
        beside: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Commit new lessons, durably and all or none; see the port.

        Raises:
            StaleError: another writer moved on since `expected_seq`, or has replaced a lesson that these replace.
            TableNotFoundError: a lesson's table is not there.
            LessonNotFoundError: a lesson to replace is not there.
            LessonError: a text or a time cannot be stored.
        """
        check_lessons(lessons, superseded)
        with self._writing() as connection:
            if expected_seq is not None and log.newest(connection) != expected_seq:
                raise StaleError(f"the store moved on from change {expected_seq}")
            lesson_rows.insert(connection, lessons)
            lesson_rows.supersede(connection, superseded, lessons)
            lesson_rows.keep_beside(connection, beside, lessons)
            if progress is not None:
                table_rows.record_import(connection, progress)
            return log.newest(connection)

    def release(self, lesson_id: str, superseded: Iterable[str], *, expected_seq: int | None = None) -> int:
        """Make a quarantined lesson active; see the port.

        Raises:
            LessonNotFoundError: no lesson has one of these ids.
            LessonError: the lesson is not quarantined.
            StaleError: another writer moved on since `expected_seq`.
        """
        with self._writing() as connection:
            if expected_seq is not None and log.newest(connection) != expected_seq:
                raise StaleError(f"the store moved on from change {expected_seq}")
            lesson_rows.release(connection, find.one(connection, lesson_id))
            lesson_rows.supersede(connection, dict.fromkeys(superseded, lesson_id), ())
            return log.newest(connection)

    def forget(self, ids: Iterable[str], *, scrub: bool = True) -> list[str]:
        """Remove lessons, their turns and records of their imports from disk; returns the ids that became active again.

        Without `scrub` the caller has to call it: until then bytes of them are in the files.

        Raises:
            LessonNotFoundError: an id is unknown; nothing is removed.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return []
        with self._removing(scrub=scrub) as connection:
            return lesson_rows.remove(connection, wanted)

    def scrub(self) -> None:
        """Make the bytes of what was removed leave the files, where they are still there."""
        self._scrub_if_due()

    def lesson(self, lesson_id: str) -> Lesson:
        """One lesson, or LessonNotFoundError."""
        with self._database.reading() as connection:
            return find.one(connection, lesson_id)

    def lessons(self, query: LessonQuery) -> list[Lesson]:
        """Lessons that match, oldest first."""
        with self._database.reading() as connection:
            return find.matching(connection, query)

    def lessons_by_id(self, ids: Sequence[str]) -> dict[str, Lesson]:
        """Those of `ids` that exist, by id."""
        with self._database.reading() as connection:
            return find.by_id(connection, ids)

    def prompts(self, query: LessonQuery) -> list[tuple[str, str]]:
        """(id, prompt) of lessons that match, oldest first."""
        with self._database.reading() as connection:
            return find.prompts(connection, query)

    def count(self, query: LessonQuery) -> int:
        """How many lessons match, limit and offset ignored."""
        with self._database.reading() as connection:
            return find.count(connection, query)

    def history(self, lesson_id: str) -> list[Lesson]:
        """The chain that a lesson belongs to, oldest first, or LessonNotFoundError."""
        with self._database.reading() as connection:
            return find.chain(connection, lesson_id)

    def conflicts(self) -> list[tuple[str, str]]:
        """Pairs (newer, older) of active lessons that were kept beside each other; oldest pair first."""
        with self._database.reading() as connection:
            return lesson_rows.kept_beside(connection)

    def resolve(self, prefix: str) -> str:
        """The one lesson id that starts with `prefix`, or LessonNotFoundError."""
        with self._database.reading() as connection:
            return find.resolve(connection, prefix)

    def tables(self) -> list[TableInfo]:
        """All tables by name."""
        with self._database.reading() as connection:
            return table_rows.listed(connection)

    def snapshot(self) -> tuple[list[Lesson], list[TableInfo]]:
        """All lessons, oldest first, and all tables, as they were at one moment."""
        with self._database.reading() as connection:
            return find.matching(connection, EVERYTHING), table_rows.listed(connection)

    def table(self, name: str) -> TableSettings:
        """Settings of a table, or TableNotFoundError."""
        with self._database.reading() as connection:
            return table_rows.get(connection, name)

    def put_table(self, name: str, settings: TableSettings) -> None:
        """Create a table or change its settings, or SettingsError."""
        check_tables({name: settings})
        with self._writing() as connection:
            table_rows.put(connection, name, settings)

    def delete_table(self, name: str) -> list[str]:
        """Remove a table and forget all its lessons; returns their ids, or TableNotFoundError."""
        with self._removing() as connection:
            table_rows.require(connection, [name])
            ids = table_rows.lesson_ids(connection, name)
            lesson_rows.remove(connection, ids)
            table_rows.remove(connection, name)
            return ids

    def put_proposal(self, proposal: Proposal) -> None:
        """Keep a proposal, or what became of one that is kept; durably. It goes when its lesson is forgotten.

        Raises:
            LessonNotFoundError: its lesson is not there.
        """
        with self._writing() as connection:
            find.one(connection, proposal.lesson_id)
            proposal_rows.put(connection, proposal)

    def proposal(self, proposal_id: str) -> Proposal:
        """One proposal, by its id or the beginning of it.

        Raises:
            NotFoundError: none has this id, or several begin with it.
        """
        with self._database.reading() as connection:
            return proposal_rows.one(connection, proposal_id)

    def proposals(self, status: ProposalStatus | None = None) -> list[Proposal]:
        """All proposals, or those of one status, oldest first."""
        with self._database.reading() as connection:
            return proposal_rows.listed(connection, status)

    def add_turn(self, turn: Turn) -> None:
        """Keep a turn; left out where a lesson that it rests on was forgotten meanwhile.

        A power cut may undo the newest turns: to wait for the disk would take longer than all else that a server does.
        """
        with self._writing(synced=False) as connection:
            turn_rows.add(connection, turn)

    def turn(self, turn_id: str) -> Turn:
        """A kept turn, or NotFoundError."""
        with self._database.reading() as connection:
            return turn_rows.one(connection, turn_id)

    def turns(self, session: str) -> list[Turn]:
        """Turns of a session, oldest first."""
        with self._database.reading() as connection:
            return turn_rows.of_session(connection, session)

    def turns_resting_on(self, lesson_id: str) -> int:
        """How many kept turns have this lesson as one that spoke."""
        with self._database.reading() as connection:
            return turn_rows.count_resting_on(connection, lesson_id)

    def import_progress(self, digest: str, table: str) -> int:
        """How many lines of the file with this digest are in the table already."""
        with self._database.reading() as connection:
            return table_rows.lines_imported(connection, digest, table)

    def replace_all(self, lessons: Sequence[Lesson], tables: Mapping[str, TableSettings]) -> None:
        """Make this the whole state of lessons and tables; turns and import records are cleared.

        Raises:
            TableNotFoundError: a lesson's table is not among them; nothing is changed.
            LessonError, SettingsError: a lesson or a table cannot be stored.
        """
        check_lessons(lessons, {})
        check_tables(tables)
        with self._removing() as connection:
            lesson_rows.remove_all(connection)
            connection.execute(imports.delete())
            table_rows.replace_all(connection, tables)
            lesson_rows.insert(connection, lessons)

    def audit(self, *, expect: str | None = None) -> AuditReport:
        """Compare everything that is stored with the hash chain of all writes; `expect` must be a hash of it."""
        with self._database.reading() as connection:
            tables = {info.name: table_digest(info.settings) for info in table_rows.listed(connection)}
            stored = lesson_rows.stored_digests(connection)
            return check(log.events(connection), stored, tables, newest=log.highest(connection), expect=expect)

    def stored_bytes(self) -> int:
        """Bytes of the durable files on disk."""
        return self._database.size_bytes()

    @contextmanager
    def _writing(self, *, synced: bool = True) -> Iterator[Connection]:
        with self._database.writing(synced=synced) as connection:
            yield connection
        self._scrub_if_due()

    @contextmanager
    def _removing(self, *, scrub: bool = True) -> Iterator[Connection]:
        with self._database.writing() as connection:
            # Noted in the same transaction, so that a crash before the scrub leaves it to the next opening. Each has a
            # note of its own: who scrubs crosses out only what was removed before.
            connection.execute(upkeep.insert(), {"task": f"scrub {new_id()}"})
            yield connection
        self._to_scrub = True
        if scrub:
            self._scrub_if_due()

    def _scrub_notes(self) -> list[str]:
        with self._database.reading() as connection:
            return list(connection.execute(select(upkeep.c.task).where(upkeep.c.task.startswith("scrub "))).scalars())

    def _scrub_if_due(self) -> None:
        if not self._to_scrub or self._database.closed:
            return
        try:
            notes = self._scrub_notes()
            self._to_scrub = not self._database.scrub(rebuild=True)
            if not self._to_scrub:
                with self._database.writing() as connection:
                    connection.execute(upkeep.delete().where(upkeep.c.task.in_(notes)))
        except StoreError as error:
            self._to_scrub = True
            _log.warning("Bytes of forgotten lessons stay in %s until its next write: %s", self._database.path, error)

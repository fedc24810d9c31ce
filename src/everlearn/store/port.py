"""The port of the store: what must survive, and what may be derived again.

Two kinds of state live in one folder. Lessons, tables, turns and imports are acknowledged: a method that writes them
returns only when they are on disk. Vectors and corrections are derived from lessons; losing them costs time, nothing
else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from everlearn.records import Lesson, LessonKind, LessonStatus, Proposal, ProposalStatus, TableInfo, TableSettings, Turn
from everlearn.store.chain import AuditReport


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened to a lesson or a table; `seq` rises by commit order over all processes.

    `kind` is "taught", "superseded", "beside" (kept beside another answer), "restored", "released", "forgotten"
    (lesson_id set) or "table" (settings changed, or the table was created or deleted; lesson_id empty).
    """

    seq: int
    kind: str
    lesson_id: str
    table: str
    detail: str = field(default="", compare=False)  # as the hash chain holds it: digest of a lesson, id of a successor
    hash: str = field(default="", compare=False)  # of this event in the chain


@dataclass(frozen=True, slots=True)
class LessonQuery:
    """Which lessons to list: all that is set must hold.

    `text` is searched in prompt, answer and context, ignoring case; `source` has to be the very source; `as_of` asks
    for those that hold at a moment (`everlearn.store.times`).
    """

    table: str | None = None
    status: LessonStatus | None = None
    text: str | None = None
    domain: str | None = None
    limit: int = 100
    offset: int = 0
    source: str | None = None
    kind: LessonKind | None = None
    as_of: datetime | None = None


EVERYTHING = LessonQuery(limit=sys.maxsize)
EACH_ITS_OWN = "/own"


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far the import of one file came: `lines` lines of the file with this digest went into `table`.

    Where the lessons of the file went each to its own table, the digest ends in `EACH_ITS_OWN`, and `table` is that of
    the first.
    """

    digest: str
    table: str
    lines: int


class StaleError(Exception):
    """Another process changed the store since `expected_seq` was read: look again, then decide again. Internal."""


class LessonStore(Protocol):
    """Durable state. Every writing method is one transaction; safe with several threads and several processes."""

    @property
    def folder(self) -> Path | None:
        """Where its files lie; None where it has none."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...

    def seq(self) -> int:
        """Number of the newest change; cheap enough to be asked before every question."""
        ...

    def changes(self, since: int) -> list[Change]:
        """All changes after number `since`, oldest first."""
        ...

    def teach(
        self,
        lessons: Sequence[Lesson],
        superseded: Mapping[str, str],
        *,
        expected_seq: int | None = None,
        progress: ImportProgress | None = None,
        beside: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Commit new lessons, durably and all or none.

        Args:
            lessons: complete, each with id, taught_at and status ("active", or "superseded" with superseded_by where a
                lesson of the same batch or a stored one replaces it).
            superseded: id of an already stored lesson -> id of the new lesson that replaces it. A stored one that is
                superseded already may only be named where the new lesson comes between it and its successor.
            expected_seq: when given, and another writer has moved on since, raise StaleError and write nothing.
            progress: recorded in the same transaction.
            beside: (id of a new lesson, id of another one) that answer one question otherwise and both stay active.

        Returns:
            The number of the newest change.
        """
        ...

    def release(self, lesson_id: str, superseded: Iterable[str], *, expected_seq: int | None = None) -> int:
        """Make a quarantined lesson active; it replaces the active lessons `superseded`. Returns the newest change.

        Raises:
            LessonNotFoundError: no lesson has one of these ids.
            LessonError: the lesson is not quarantined.
            StaleError: as for `teach`.
        """
        ...

    def forget(self, ids: Iterable[str], *, scrub: bool = True) -> list[str]:
        """Remove lessons from disk, not merely hide them, together with the turns that rest on them.

        What a forgotten lesson had superseded is linked to the forgotten lesson's own successor, or becomes active
        again. Records of imports into the tables that the lessons were in are removed in the same transaction, as are
        those of files whose lessons went each to its own table: importing such a file again teaches what is missing.

        Args:
            ids: of lessons.
            scrub: also rebuild the files without their bytes, which takes seconds for a million lessons; else the
                caller has to call `scrub`, when it does not make others wait.

        Returns:
            Ids of lessons that became active again.

        Raises:
            LessonNotFoundError: an id is unknown; nothing is removed.
        """
        ...

    def scrub(self) -> None:
        """Make the bytes of what was removed leave the files, where they are still there."""
        ...

    def lesson(self, lesson_id: str) -> Lesson:
        """One lesson.

        Raises:
            LessonNotFoundError: no lesson has this id.
        """
        ...

    def lessons(self, query: LessonQuery) -> list[Lesson]:
        """Lessons that match, oldest first."""
        ...

    def lessons_by_id(self, ids: Sequence[str]) -> dict[str, Lesson]:
        """Those of `ids` that exist, by id; any number of ids."""
        ...

    def prompts(self, query: LessonQuery) -> list[tuple[str, str]]:
        """(id, prompt) of lessons that match, oldest first: a fraction of what reading the lessons costs."""
        ...

    def count(self, query: LessonQuery) -> int:
        """How many lessons match, limit and offset ignored."""
        ...

    def history(self, lesson_id: str) -> list[Lesson]:
        """The chain that a lesson belongs to: all it superseded, itself, all that superseded it; oldest first."""
        ...

    def conflicts(self) -> list[tuple[str, str]]:
        """Pairs (newer, older) of active lessons that were kept beside each other; oldest pair first."""
        ...

    def resolve(self, prefix: str) -> str:
        """The one lesson id that starts with `prefix` (at least 4 characters).

        Raises:
            LessonNotFoundError: none or several do.
        """
        ...

    def tables(self) -> list[TableInfo]:
        """All tables by name. A new store has the table "default"."""
        ...

    def snapshot(self) -> tuple[list[Lesson], list[TableInfo]]:
        """All lessons, oldest first, and all tables by name, as they were at one moment: what a checkpoint keeps."""
        ...

    def table(self, name: str) -> TableSettings:
        """Settings of a table.

        Raises:
            TableNotFoundError: no such table; the hint names the nearest.
        """
        ...

    def put_table(self, name: str, settings: TableSettings) -> None:
        """Create a table or change its settings.

        Raises:
            SettingsError: a value out of its range, or a name that cannot be typed. Which blocks there are depends on
                the model, which the store does not know.
        """
        ...

    def delete_table(self, name: str) -> list[str]:
        """Remove a table and forget all its lessons, with what `forget` removes. Returns their ids.

        Raises:
            TableNotFoundError: no such table.
        """
        ...

    def put_proposal(self, proposal: Proposal) -> None:
        """Keep a proposal, or what became of one that is kept; durably. It goes when its lesson is forgotten.

        Raises:
            LessonNotFoundError: its lesson is not there.
        """
        ...

    def proposal(self, proposal_id: str) -> Proposal:
        """One proposal, by its id or the beginning of it.

        Raises:
            NotFoundError: none has this id, or several begin with it.
        """
        ...

    def proposals(self, status: ProposalStatus | None = None) -> list[Proposal]:
        """All proposals, or those of one status, oldest first."""
        ...

    def add_turn(self, turn: Turn) -> None:
        """Keep a turn. It outlives the process when this returns; a power cut may undo the newest."""
        ...

    def turn(self, turn_id: str) -> Turn:
        """A kept turn.

        Raises:
            NotFoundError: no turn has this id.
        """
        ...

    def turns(self, session: str) -> list[Turn]:
        """Turns of a session, oldest first."""
        ...

    def turns_resting_on(self, lesson_id: str) -> int:
        """How many kept turns `forget` would remove: those it spoke in, and those after them in a conversation."""
        ...

    def import_progress(self, digest: str, table: str) -> int:
        """How many lines of the file with this digest are in the table already; 0 when never seen."""
        ...

    def replace_all(self, lessons: Sequence[Lesson], tables: Mapping[str, TableSettings]) -> None:
        """Make this the whole state of lessons and tables, in one transaction, as when a checkpoint is loaded.

        Turns and import records are cleared. Every lesson that was there counts as forgotten, every new one as taught.

        Raises:
            TableNotFoundError: a lesson's table is not among them; nothing is changed.
            LessonError: a text or a time cannot be stored.
            SettingsError: a table as `put_table` refuses it.
        """
        ...

    def audit(self, *, expect: str | None = None) -> AuditReport:
        """Compare what is stored with the hash chain of all writes, and name what does not fit.

        Args:
            expect: hash of an event that was seen before; that the chain lacks it is a flaw.
        """
        ...

    def stored_bytes(self) -> int:
        """Bytes of the durable files on disk."""
        ...


class DerivedStore(Protocol):
    """Cache of what can be computed again: bytes under (kind, lesson id). Damage is mended by starting empty."""

    @property
    def rows(self) -> Path | None:
        """Folder for files of rows (`row_files`), in which `delete` wipes as well; None where it has no files."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...

    def get(self, kind: str, ids: Sequence[str]) -> dict[str, bytes]:
        """Those of `ids` that are there, by id. `kind` names what, and from which model or encoder."""
        ...

    def put(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep values; replaces what was there."""
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Remove everything of these lessons, of every kind; returns the number of rows."""
        ...

    def ids(self) -> set[str]:
        """Lessons of which anything is kept."""
        ...

    def stored_bytes(self) -> int:
        """Bytes of the derived files on disk."""
        ...

"""The store without files: slow and obvious, the truth in tests, and enough for an engine that is thrown away."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import final

from everlearn.records import (
    DEFAULT_TABLE,
    Lesson,
    LessonStatus,
    Proposal,
    ProposalStatus,
    TableInfo,
    TableSettings,
    Turn,
)
from everlearn.store import rules
from everlearn.store.chain import AuditReport
from everlearn.store.in_memory_derived import InMemoryDerivedStore
from everlearn.store.port import EACH_ITS_OWN, EVERYTHING, Change, ImportProgress, LessonQuery, StaleError
from everlearn.store.times import holds

__all__ = ["InMemoryDerivedStore", "InMemoryLessonStore"]


@final
class InMemoryLessonStore:
    """A `LessonStore` in dictionaries; everything is gone when the process ends."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lessons: dict[str, Lesson] = {}
        self._tables: dict[str, TableSettings] = {DEFAULT_TABLE: TableSettings()}
        self._turns: dict[str, Turn] = {}
        self._imports: dict[tuple[str, str], int] = {}
        self._beside: list[tuple[str, str]] = []
        self._changes: list[Change] = []
        self._proposals: dict[str, Proposal] = {}

    folder = None  # no files

    def close(self) -> None:
        """Nothing to release."""

    def seq(self) -> int:
        """Number of the newest change."""
        return len(self._changes)

    def changes(self, since: int) -> list[Change]:
        """All changes after number `since`, oldest first."""
        with self._lock:
            return self._changes[since:]

    def teach(
        self,
        lessons: Sequence[Lesson],
        superseded: Mapping[str, str],
        *,
        expected_seq: int | None = None,
        progress: ImportProgress | None = None,
        beside: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Keep new lessons, all or none; see the port.

        Raises:
            StaleError: the store moved on since `expected_seq`, or a lesson to replace is replaced already.
            TableNotFoundError: a lesson's table is not there.
            LessonNotFoundError: a lesson to replace is not there.
            LessonError: a text or a time cannot be stored.
        """
        rules.check_lessons(lessons, superseded)
        with self._lock:
            if expected_seq is not None and self.seq() != expected_seq:
                raise StaleError(f"the store moved on from change {expected_seq}")
            self._require_tables(lesson.table for lesson in lessons)
            self._require_tables([progress.table] if progress else [])
            self._check_links(lessons, superseded, beside)
            self._add(lessons)
            for old, new in superseded.items():
                self._lessons[old] = replace(self._lessons[old], status="superseded", superseded_by=new)
                self._record("superseded", self._lessons[old])
            for new in dict.fromkeys(one for one, _ in beside):
                self._record("beside", self._lessons[new])
            self._beside += beside
            if progress is not None:
                self._imports[progress.digest, progress.table] = progress.lines
            return self.seq()

    def release(self, lesson_id: str, superseded: Iterable[str], *, expected_seq: int | None = None) -> int:
        """Make a quarantined lesson active; see the port."""
        with self._lock:
            if expected_seq is not None and self.seq() != expected_seq:
                raise StaleError(f"the store moved on from change {expected_seq}")
            held, replaced = self.lesson(lesson_id), [self.lesson(old) for old in superseded]
            if held.status != "quarantined":
                raise rules.not_quarantined(held)
            for old in replaced:
                if old.status != "active":
                    raise StaleError(f"lesson {old.id} is superseded already")
            self._lessons[lesson_id] = replace(held, status="active")
            self._record("released", held)
            for old in replaced:
                self._lessons[old.id] = replace(old, status="superseded", superseded_by=lesson_id)
                self._record("superseded", old)
            return self.seq()

    def scrub(self) -> None:
        """Nothing is left of what was removed."""

    def forget(self, ids: Iterable[str], *, scrub: bool = True) -> list[str]:
        """Remove lessons, their turns and records of their imports; returns the ids that became active again.

        Raises:
            LessonNotFoundError: an id is unknown; nothing is removed.
        """
        with self._lock:
            gone = [self.lesson(lesson_id) for lesson_id in dict.fromkeys(ids)]
            before = dict(self._lessons)
            for lesson in gone:
                self._remove(lesson.id)
            self._drop_imports({lesson.table for lesson in gone})
            for lesson in gone:
                self._record("forgotten", lesson)
            moved = [lesson for lesson in self._lessons.values() if lesson != before[lesson.id]]
            restored = [lesson for lesson in moved if lesson.status == "active"]
            for lesson in moved:
                if lesson.status == "superseded":
                    self._record("superseded", lesson)
            for lesson in restored:
                self._record("restored", lesson)
            return [lesson.id for lesson in restored]

    def lesson(self, lesson_id: str) -> Lesson:
        """One lesson, or LessonNotFoundError."""
        if lesson_id not in self._lessons:
            raise rules.lesson_not_found(lesson_id)
        return self._lessons[lesson_id]

    def lessons(self, query: LessonQuery) -> list[Lesson]:
        """Lessons that match, oldest first."""
        assert query.limit >= 0, "a negative limit"
        assert query.offset >= 0, "a negative offset"
        return self._matching(query)[query.offset : query.offset + query.limit]

    def lessons_by_id(self, ids: Sequence[str]) -> dict[str, Lesson]:
        """Those of `ids` that exist, by id."""
        with self._lock:
            return {lesson_id: self._lessons[lesson_id] for lesson_id in ids if lesson_id in self._lessons}

    def prompts(self, query: LessonQuery) -> list[tuple[str, str]]:
        """(id, prompt) of lessons that match, oldest first."""
        return [(lesson.id, lesson.prompt) for lesson in self.lessons(query)]

    def count(self, query: LessonQuery) -> int:
        """How many lessons match, limit and offset ignored."""
        return len(self._matching(query))

    def history(self, lesson_id: str) -> list[Lesson]:
        """The chain that a lesson belongs to, oldest first, or LessonNotFoundError."""
        with self._lock:
            members = rules.chain_of(self.lesson(lesson_id), self._lessons)
            return [lesson for lesson in self._lessons.values() if lesson.id in members]

    def conflicts(self) -> list[tuple[str, str]]:
        """Pairs (newer, older) of active lessons that were kept beside each other; oldest pair first."""
        with self._lock:
            order = {lesson_id: n for n, lesson_id in enumerate(self._lessons)}
            kept = [pair for pair in self._beside if all(each in order for each in pair)]
            active = [pair for pair in kept if all(self._lessons[each].status == "active" for each in pair)]
            return sorted(active, key=lambda pair: (order[pair[0]], order[pair[1]]))

    def resolve(self, prefix: str) -> str:
        """The one lesson id that starts with `prefix`, or LessonNotFoundError."""
        with self._lock:
            return rules.the_one(prefix, [lesson_id for lesson_id in self._lessons if lesson_id.startswith(prefix)])

    def tables(self) -> list[TableInfo]:
        """All tables by name."""
        with self._lock:
            return [
                TableInfo(name, settings, *(self._held(name, s) for s in ("active", "superseded", "quarantined")))
                for name, settings in sorted(self._tables.items())
            ]

    def snapshot(self) -> tuple[list[Lesson], list[TableInfo]]:
        """All lessons, oldest first, and all tables, as they were at one moment."""
        with self._lock:
            return self.lessons(EVERYTHING), self.tables()

    def table(self, name: str) -> TableSettings:
        """Settings of a table, or TableNotFoundError."""
        self._require_tables([name])
        return self._tables[name]

    def put_table(self, name: str, settings: TableSettings) -> None:
        """Create a table or change its settings, or SettingsError."""
        rules.check_tables({name: settings})
        with self._lock:
            self._tables[name] = settings
            self._record_table(name)

    def delete_table(self, name: str) -> list[str]:
        """Remove a table and forget all its lessons; returns their ids, or TableNotFoundError."""
        with self._lock:
            self._require_tables([name])
            ids = [lesson.id for lesson in self._lessons.values() if lesson.table == name]
            self.forget(ids)
            del self._tables[name]
            self._imports = {key: lines for key, lines in self._imports.items() if key[1] != name}
            self._record_table(name)
            return ids

    def put_proposal(self, proposal: Proposal) -> None:
        """Keep a proposal, or what became of one that is kept; durably. It goes when its lesson is forgotten.

        Raises:
            LessonNotFoundError: its lesson is not there.
        """
        self.lesson(proposal.lesson_id)
        self._proposals[proposal.id] = proposal

    def proposal(self, proposal_id: str) -> Proposal:
        """One proposal, by its id or the beginning of it.

        Raises:
            NotFoundError: none has this id, or several begin with it.
        """
        found = [p for p in self._proposals.values() if p.id.startswith(proposal_id)]
        if len(found) != 1:
            raise rules.proposal_not_found(proposal_id)
        return found[0]

    def proposals(self, status: ProposalStatus | None = None) -> list[Proposal]:
        """All proposals, or those of one status, oldest first."""
        return [p for p in self._proposals.values() if status in (None, p.status)]

    def add_turn(self, turn: Turn) -> None:
        """Keep a turn; left out where a lesson that it rests on was forgotten meanwhile."""
        with self._lock:
            forgotten = {change.lesson_id for change in self._changes if change.kind == "forgotten"}
            for lesson_id in rules.spoken_by(turn):
                if lesson_id not in self._lessons:
                    if lesson_id in forgotten:
                        return
                    raise rules.lesson_not_found(lesson_id)
            assert turn.id not in self._turns, "two turns with the same id"
            self._turns[turn.id] = turn

    def turn(self, turn_id: str) -> Turn:
        """A kept turn, or NotFoundError."""
        if turn_id not in self._turns:
            raise rules.turn_not_found(turn_id)
        return self._turns[turn_id]

    def turns(self, session: str) -> list[Turn]:
        """Turns of a session, oldest first."""
        with self._lock:
            return [turn for turn in self._turns.values() if turn.session == session]

    def turns_resting_on(self, lesson_id: str) -> int:
        """How many kept turns forgetting this lesson would remove."""
        with self._lock:
            return len(rules.resting_on(self._turns.values(), lesson_id))

    def import_progress(self, digest: str, table: str) -> int:
        """How many lines of the file with this digest are in the table already."""
        return self._imports.get((digest, table), 0)

    def replace_all(self, lessons: Sequence[Lesson], tables: Mapping[str, TableSettings]) -> None:
        """Make this the whole state of lessons and tables; turns and import records are cleared.

        Raises:
            TableNotFoundError: a lesson's table is not among them; nothing is changed.
            LessonError, SettingsError: a lesson or a table cannot be stored.
        """
        rules.check_lessons(lessons, {})
        rules.check_tables(tables)
        with self._lock:
            for name in sorted({lesson.table for lesson in lessons}):
                if name not in tables:
                    raise rules.table_not_found(name, tables)
            for lesson in self._lessons.values():
                self._record("forgotten", lesson)
            for name in sorted({*self._tables, *tables}):
                self._record_table(name)
            self._lessons, self._turns, self._imports, self._tables = {}, {}, {}, dict(tables)
            self._proposals = {}
            self._beside = []
            self._add(lessons)

    def audit(self, *, expect: str | None = None) -> AuditReport:
        """Nobody else can write here, so no chain is kept and nothing can differ from it."""
        return AuditReport(len(self._changes), len(self._lessons), "", ())

    def stored_bytes(self) -> int:
        """Nothing is on disk."""
        return 0

    def _matching(self, query: LessonQuery) -> list[Lesson]:
        with self._lock:
            lessons = [lesson for lesson in self._lessons.values() if rules.matches(lesson, query)]
            if query.as_of is None:
                return lessons
            return [le for le in lessons if holds(le, self._lessons.get(le.superseded_by), query.as_of)]

    def _held(self, table: str, status: LessonStatus) -> int:
        return self.count(LessonQuery(table=table, status=status))

    def _require_tables(self, names: Iterable[str]) -> None:
        for name in sorted(set(names)):
            if name not in self._tables:
                raise rules.table_not_found(name, self._tables)

    def _check_links(
        self, new: Sequence[Lesson], superseded: Mapping[str, str], beside: Sequence[tuple[str, str]]
    ) -> None:
        batch = {lesson.id: lesson for lesson in new}
        for lesson_id in [*(le.superseded_by for le in new if le.superseded_by), *(i for pair in beside for i in pair)]:
            batch.get(lesson_id) or self.lesson(lesson_id)
        rules.check_links(new, superseded, {old: self.lesson(old).superseded_by for old in superseded})

    def _add(self, lessons: Sequence[Lesson]) -> None:
        for lesson in lessons:
            assert lesson.id not in self._lessons, "two lessons with the same id"
            self._lessons[lesson.id] = lesson
        for lesson in lessons:
            self._record("taught", lesson)
        for lesson in lessons:
            if lesson.status == "superseded":
                self._record("superseded", lesson)

    def _remove(self, lesson_id: str) -> None:
        gone = [p.id for p in self._proposals.values() if lesson_id in (p.lesson_id, p.promoted_id)]
        for proposal_id in gone:
            del self._proposals[proposal_id]
        heir = self._lessons.pop(lesson_id).superseded_by
        status: LessonStatus = "superseded" if heir else "active"
        for other in list(self._lessons.values()):
            if other.superseded_by == lesson_id:
                self._lessons[other.id] = replace(other, status=status, superseded_by=heir)
        doomed = rules.resting_on(self._turns.values(), lesson_id)
        self._turns = {key: turn for key, turn in self._turns.items() if key not in doomed}

    def _drop_imports(self, touched: set[str]) -> None:
        for digest, table in list(self._imports):
            if table in touched or (touched and digest.endswith(EACH_ITS_OWN)):
                del self._imports[digest, table]

    def _record(self, kind: str, lesson: Lesson) -> None:
        self._changes.append(Change(len(self._changes) + 1, kind, lesson.id, lesson.table))

    def _record_table(self, name: str) -> None:
        self._changes.append(Change(len(self._changes) + 1, "table", "", name))

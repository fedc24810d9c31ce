"""Memory: all look-up tables on one base model, kept in step with the store."""

from __future__ import annotations

import difflib
import logging
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import SettingsError, StoreBusyError, TableNotFoundError
from everlearn.memory.correction import Correction
from everlearn.memory.cursor import Cursor
from everlearn.memory.gate import Gate
from everlearn.memory.hops import Found, Hops
from everlearn.memory.judging import Entries, Judging
from everlearn.memory.key import KeyMaker
from everlearn.memory.passage_gate import PassageGate
from everlearn.memory.past import Past
from everlearn.memory.phrase import Encoded
from everlearn.memory.recall import (
    Decided,
    Recall,
    content,
    to_be_read,
    with_hops,
)
from everlearn.memory.sealed import SealedEntries, base_of, value_of
from everlearn.memory.shelves import Shelves
from everlearn.memory.spans import Spans
from everlearn.memory.table import LookupTable
from everlearn.memory.values import Corrections
from everlearn.memory.vectors import KeyVectors
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson, TableInfo, TableSettings
from everlearn.store.port import DerivedStore, LessonQuery, LessonStore

_log = logging.getLogger(__name__)
_ATTEMPTS = 3


@final
class Memory:
    """The tables of a store, ready to be asked.

    Another process may write the same store: what it committed is seen at the next question.

    Args:
        store: lessons, the truth.
        derived: vectors and corrections, a cache.
        keys: makes keys of prompts.
        gate: judges candidates.
        corrections: values of entries.
        passage_gate: judges passages of documents.
        hops: answers questions that need several facts; None = nobody does.
    """

    def __init__(
        self,
        store: LessonStore,
        derived: DerivedStore,
        keys: KeyMaker,
        gate: Gate,
        corrections: Corrections,
        *,
        passage_gate: PassageGate | None = None,
        hops: Hops | None = None,
    ) -> None:
        self.store = store
        self.derived = derived
        self.keys = keys
        self.corrections = corrections
        self.lock = threading.RLock()
        self.gate = gate
        self.hops = hops
        self.passages = Shelves(derived, keys, passage_gate or PassageGate.packaged())
        self._tables: dict[str, LookupTable] = {}
        self._home: dict[str, str] = {}  # lesson id -> table
        self._contextual: dict[str, frozenset[str]] = {}  # lesson id -> content words of the context it holds in
        self._seq = -1
        self._beside: dict[str, set[str]] = {}  # lesson id -> active ones with another answer, kept on purpose
        self._words = WordStates(keys, derived)
        self._vectors = KeyVectors(keys, derived)
        base = base_of(corrections.model.digest, corrections.model.dtype)
        self.sealed = SealedEntries(keys.digest, base, keys.width)
        self._spans = Spans(store)
        self._past = Past(store, self._vectors, keys, gate, self._words)
        entries = Entries(self._tables, self._contextual, self._beside, self.passages, self.sealed, self._past)
        self._judging = Judging(store, keys, entries, hops)

    def refresh(self, ready: Mapping[str, Encoded] | None = None) -> int:
        """Take over what changed in the store.

        Args:
            ready: lesson id -> its prompt as encoded (of a passage its windows), where the caller has that.

        Returns:
            The number of the change up to which the tables are now true.
        """
        with self.lock:
            seq = self.store.seq()
            if seq == self._seq:
                return seq
            if self._seq < 0:
                self._load(seq)
            else:
                self._catch_up(ready or {})
            return self._seq

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._home or lesson_id in self.sealed or lesson_id in self.passages

    def tables(self) -> list[TableInfo]:
        """All tables."""
        return self.store.tables()

    def table(self, name: str) -> LookupTable:
        """One table.

        Raises:
            TableNotFoundError: no such table.
        """
        with self.lock:
            self.refresh()
            if name not in self._tables:
                near = difflib.get_close_matches(name, self._tables, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(self._tables))}."
                raise TableNotFoundError(f"There is no table {name!r}.", hint=hint)
            return self._tables[name]

    def recall(
        self,
        queries: Sequence[tuple[str, Sequence[str]]],
        tables: Sequence[str] | None = None,
        as_of: datetime | None = None,
    ) -> list[Recall]:
        """Find, for each question, the entry that may speak.

        Args:
            queries: (question, the user's messages before it, oldest first).
            tables: names to ask; None = all that belong to nobody; () = none.
            as_of: ask the lessons that hold at this moment, superseded ones too; None = now.
        """
        with self.lock:
            begun = time.perf_counter()
            for _ in range(_ATTEMPTS):
                self.refresh()
                decided = self._judging.decided(queries, names := self._asked(tables), as_of)
                needed = {hit.lesson_id for hit, _ in decided if hit is not None}
                needed.update(lesson_id for _, seen in decided for lesson_id in to_be_read(seen))
                lessons = self.store.lessons_by_id(list(needed)) if needed else {}
                if len(lessons) == len(needed):
                    break  # else another process forgot one of them this instant: look again
            else:
                raise StoreBusyError("Lessons vanish while they are looked up.", hint="Ask again.")
            asked = zip(queries, decided, strict=True)  # of the past only what was taught of it is told
            found = [
                None if as_of is not None else self._judging.in_hops(query, each, names) for (query, _), each in asked
            ]
            ms = (time.perf_counter() - begun) * 1000 / max(len(queries), 1)
            budgets = {name: self._tables[name].settings.context_tokens for name in names}
            return [
                self._in_hops(each, hops, names, ms)
                if hops is not None
                else Recall(
                    each[0],
                    lessons.get(each[0].lesson_id) if each[0] else None,
                    each[1],
                    names,
                    ms,
                    as_of,
                    tuple(lessons[i] for i in to_be_read(each[1])),
                    budgets,
                )
                for each, hops in zip(decided, found, strict=True)
            ]

    def _asked(self, tables: Sequence[str] | None) -> tuple[str, ...]:
        """Names of the tables that are asked, each once; all of them are there."""
        if tables is None:
            return self.open_to()
        for name in tables:
            self.table(name)
        return tuple(dict.fromkeys(tables))

    def open_to(self, user: str = "", teams: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the tables that somebody may ask: those without an owner, their own, and their teams'."""
        owners = {("personal", user), *(("team", team) for team in teams)}
        with self.lock:
            self.refresh()
            tables = sorted(self._tables.items())
            return tuple(n for n, t in tables if not t.settings.owner or (t.settings.layer, t.settings.owner) in owners)

    def cursor(self, recall: Recall) -> Cursor | None:
        """A cursor over the answer of the entry that speaks, or of the last hop; None where none does."""
        if recall.found is not None and recall.settings is not None:
            return self._hop_cursor(recall.found, recall.settings)
        if recall.hit is None or recall.lesson is None:
            return None
        settings = recall.hit.settings
        correction = self.correction(recall.lesson, settings)
        return Cursor(recall.lesson.id, correction, settings.residual, output=settings.output)

    def correction(self, lesson: Lesson, settings: TableSettings) -> Correction:
        """The correction of a lesson under these settings; a first use computes it (two forward passes).

        A lesson that was forgotten while its correction was computed leaves nothing behind.
        """
        if lesson.kind == "sealed":
            return value_of(lesson, self.corrections.model.hidden_size)
        found = self.corrections.find(lesson, settings)
        if found is None:
            found = self.corrections.compute(lesson, settings)
            with self.lock:  # `forget` holds it from removing the lesson to removing what was derived
                if self.store.lessons_by_id([lesson.id]):
                    self.corrections.keep(lesson, settings, found)
        return found

    def warm(self, ids: Iterable[str] | None = None) -> list[tuple[Lesson, TableSettings]]:
        """Active lessons (of `ids`, or all) whose corrections are still to be computed."""
        with self.lock:
            self.refresh()
            wanted = [i for i in (self._home if ids is None else ids) if i in self._home]
            todo: list[tuple[Lesson, TableSettings]] = []
            for name, table in self._tables.items():
                try:
                    mine = self.corrections.missing([i for i in wanted if self._home[i] == name], table.settings)
                except SettingsError as cause:  # blocks that this model has not; whoever asks the table is told
                    _log.warning("table %s: %s", name, cause)
                    continue
                todo += [(lesson, table.settings) for lesson in self.store.lessons_by_id(mine).values()]
            return todo

    def vector_of(self, lesson: Lesson) -> NDArray[np.float32]:
        """Key vector [K] of a lesson of the store, active or not."""
        row: NDArray[np.float32] = self._vectors.of([lesson])[0]
        return row

    @property
    def key_bytes(self) -> int:
        """Bytes of all key vectors in memory."""
        return sum(t.nbytes for t in self._tables.values()) + self.passages.nbytes

    def _in_hops(self, decided: Decided, found: Found, names: tuple[str, ...], ms: float) -> Recall:
        last = next(told.fact for told in reversed(found.told) if told.fact is not None)
        settings = self._tables[last.table].settings
        return Recall(None, None, with_hops(decided, found), names, ms, found=found, settings=settings)

    def _hop_cursor(self, found: Found, settings: TableSettings) -> Cursor:
        """A cursor over the last hop's answer: of its lesson, or of the base model's own words."""
        fact = found.told[-1].fact
        lesson = self.store.lessons_by_id([fact.lesson_id]).get(fact.lesson_id) if fact is not None else None
        if lesson is not None:
            return Cursor(lesson.id, self.correction(lesson, settings), settings.residual, output=settings.output)
        tokens = self.corrections.tokens(found.answer)
        return Cursor("", Correction(tokens, {}), settings.residual, output=settings.output)

    def _load(self, seq: int) -> None:
        self._read_tables()
        for name in self._tables:
            active = self.store.lessons(LessonQuery(table=name, status="active", limit=sys.maxsize))
            self._add([*active, *self._spans.waiting(active)], {})
        self._read_beside()
        self._purge()
        self._seq = seq

    def _purge(self) -> None:
        """Remove derived data of lessons that are no more: a process may have ended in the middle of forgetting."""
        idle = [i for i in self.derived.ids() if i not in self]
        gone = set(idle) - set(self.store.lessons_by_id(idle))
        if gone:
            _log.info("derived data of %d forgotten lessons is removed", len(gone))
            self.derived.delete(gone)

    def _catch_up(self, ready: Mapping[str, Encoded]) -> None:
        changes = self.store.changes(self._seq)
        if any(c.kind == "table" for c in changes):
            self._read_tables()
        touched = list(dict.fromkeys(c.lesson_id for c in changes if c.lesson_id))
        now = self.store.lessons_by_id(touched)
        live = {i for i, lesson in now.items() if self._is_live(lesson)}
        self._remove([i for i in touched if i in self])  # put in anew where it is live: its span may be another
        self._past.catch_up(touched, now)
        gone = [i for i in touched if i not in now]
        if gone:
            self.corrections.drop(gone)
            self._words.drop(gone)
            self.derived.delete(gone)  # another process may have put something back after it was forgotten
        self._add([le for le in now.values() if le.id in live and le.id not in self], ready)
        self._read_beside()
        self._seq = max((c.seq for c in changes), default=self._seq)

    def _is_live(self, lesson: Lesson) -> bool:
        waits = lesson.status == "superseded" and self._spans.still_speaks(lesson)
        return lesson.status == "active" or waits

    def _read_tables(self) -> None:
        known = {info.name: info.settings for info in self.store.tables()}
        for name in set(self._tables) - set(known):
            self._remove([i for i, home in self._home.items() if home == name])
            self.sealed.remove_table(name)
            self.passages.remove_table(name)
            del self._tables[name]
        for name, settings in known.items():
            table = self._tables.setdefault(name, LookupTable(name, settings, self.keys, self.gate, self._words))
            table.settings = settings

    def _remove(self, ids: Sequence[str]) -> None:
        self.passages.remove(ids)
        if self.hops is not None:
            self.hops.remove(ids)
        for lesson_id in ids:
            self._contextual.pop(lesson_id, None)
        self.sealed.remove(ids)
        for lesson_id in [i for i in ids if i in self._home]:
            self._tables[self._home.pop(lesson_id)].remove(lesson_id)

    def _add(self, lessons: Sequence[Lesson], ready: Mapping[str, Encoded]) -> None:
        self.sealed.add([le for le in lessons if le.kind == "sealed"])
        texts = [le for le in lessons if le.kind == "passage"]
        self.passages.add(texts, {le.id: ready[le.id].vector for le in texts if le.id in ready})
        lessons = [le for le in lessons if le.kind not in ("sealed", "passage")]
        if not lessons:
            return
        self._words.keep({le.id: ready[le.id] for le in lessons if le.id in ready})
        for name in dict.fromkeys(le.table for le in lessons):
            mine = [le for le in lessons if le.table == name]
            spans = {le.id: span for le in mine if (span := self._spans.of(le)) is not None}
            self._tables[name].add(
                [le.id for le in mine],
                [le.question for le in mine],
                self._vectors.of(mine, {i: encoded.vector for i, encoded in ready.items()}),
                spans,
            )
            self._home.update((le.id, name) for le in mine)
            self._contextual.update((le.id, content(le.context, self.keys.rarity)) for le in mine if le.context)
        if self.hops is not None:
            self.hops.add(lessons)

    def encoded_of(self, lessons: Sequence[Lesson]) -> dict[str, Encoded]:
        """What the keys of lessons are made of, by id, as it is kept; what is missing is made."""
        if not lessons:
            return {}
        states = self._words.of({le.id: le.question for le in lessons})
        return {le.id: Encoded(v, states[le.id]) for le, v in zip(lessons, self._vectors.of(lessons), strict=True)}

    def _read_beside(self) -> None:
        self._beside.clear()
        for one, other in self.store.conflicts():
            self._beside.setdefault(one, set()).add(other)
            self._beside.setdefault(other, set()).add(one)

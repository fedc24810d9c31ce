"""All that can be asked: the entries of all look-up tables, kept in step with the store."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import final

from everlearn.memory.contexts import Contexts
from everlearn.memory.filed import FiledEntries
from everlearn.memory.filing import FILED, Filing
from everlearn.memory.gate import Gate
from everlearn.memory.hops import MOST_LESSONS, Hops
from everlearn.memory.key import KeyMaker
from everlearn.memory.past import Past
from everlearn.memory.phrase import Encoded
from everlearn.memory.saved import SavedEntries
from everlearn.memory.sealed import SealedEntries
from everlearn.memory.shelves import Shelves
from everlearn.memory.spans import Spans
from everlearn.memory.table import LookupTable
from everlearn.memory.upkeep import Upkeep
from everlearn.memory.values import Corrections
from everlearn.memory.vectors import KeyVectors
from everlearn.memory.word_states import WordStates
from everlearn.records import Lesson, LessonKind
from everlearn.store.port import DerivedStore, LessonQuery, LessonStore
from everlearn.store.row_folder import Rows

_log = logging.getLogger(__name__)
_NOT_FILED: tuple[LessonKind, ...] = ("passage", "sealed")


@final
class Contents:
    """The entries of a store. The caller of every method holds `lock`.

    Attributes:
        lock: of the memory.
        tables: name -> look-up table.
        contexts: that lessons hold in.
        beside: lesson id -> active ones with another answer, kept on purpose.
        passages: of documents.
        sealed: entries without text.
        past: superseded entries.
        vectors: key vectors of lessons.
        words: states of the words of prompts.
        upkeep: files large tables in the background.

    Args:
        store: lessons, the truth.
        derived: vectors and corrections, a cache.
        keys: makes keys of prompts.
        gate: judges candidates.
        corrections: values of entries.
        passages: empty shelves.
        sealed: no entries yet.
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
        passages: Shelves,
        sealed: SealedEntries,
        hops: Hops | None,
    ) -> None:
        self._store, self._derived, self._keys, self._gate = store, derived, keys, gate
        self._corrections, self._hops = corrections, hops
        self.lock = threading.RLock()
        self.tables: dict[str, LookupTable] = {}
        self.contexts = Contexts(store, keys.rarity)
        self.beside: dict[str, set[str]] = {}
        self.passages, self.sealed = passages, sealed
        self.vectors, self.words = KeyVectors(keys, derived), WordStates(keys, derived)
        self.past = Past(store, self.vectors, keys, gate, self.words)
        self._spans = Spans(store)
        self._filing = Filing(store, derived, self.vectors, keys.width, self._spans)
        self.upkeep = Upkeep(self._filing, self.lock, self)
        self._seq = -1

    def __contains__(self, lesson_id: object) -> bool:
        return self._home(lesson_id) is not None or lesson_id in self.sealed or lesson_id in self.passages

    def refresh(self, ready: Mapping[str, Encoded] | None = None) -> int:
        """Take over what changed in the store.

        Args:
            ready: lesson id -> its prompt as encoded (of a passage its windows), where the caller has that.

        Returns:
            The number of the change up to which the tables are now true.
        """
        seq = self._store.seq()
        if seq != self._seq:
            if self._seq < 0:
                self._load(seq)
            else:
                self._catch_up(ready or {})
            self.upkeep.look(self.tables)
        return self._seq

    def take_over(self, table: LookupTable, saved: SavedEntries, written: Rows | None) -> None:
        """Make a table look into these files, and take over what changed since they were written.

        Args:
            table: the table.
            saved: its files.
            written: rows that were written into them, to be found from now on; None = they are as they were read.
        """
        self.refresh()
        if self.tables.get(table.name) is table:
            # First, so that whatever fails here is made good by the next refresh, which follows the same changes.
            self._seq = min(self._seq, saved.seq if written is None else written.seq)
            if written is not None:
                saved.take_up(written)
            self._file(table, saved)
            self.refresh()
        elif table.name not in self.tables:  # deleted while its files were written
            self._filing.delete(table.name)

    def read_again(self, ids: Sequence[str]) -> None:
        """Take lessons anew from the store: those that are live are found, the others are not."""
        self._follow(ids)

    def _load(self, seq: int) -> None:
        filed: dict[str, int] = {}  # table -> change up to which its files are true
        built = False
        for name in self._read_tables():
            pairs = self._pairs(name)
            saved = self._filing.read(name) if pairs >= max(self._filing.large // 2, 1) else None
            if saved is None and pairs >= self._filing.large:
                saved = self._filing.from_store(name, seq)
                built = True
                if saved is None:
                    self.upkeep.rest(name)
            if saved is not None:
                filed[name] = saved.seq
                self._file(self.tables[name], saved)
            self._fill(name, _NOT_FILED if saved is not None else (None,))
        if filed:
            self._give_hops(filed)
            self._follow(self._touched(filed))
        self._read_beside()
        self._purge(None if built or not filed else min(filed.values()))
        self._filing.delete_others(filed)
        self._seq = seq

    def _fill(self, table: str, kinds: Sequence[LessonKind | None]) -> None:
        """Take in the live lessons of a table, of some kinds."""
        for kind in kinds:
            query = LessonQuery(table=table, status="active", kind=kind, limit=sys.maxsize)
            active = self._store.lessons(query)
            self._add([*active, *self._spans.waiting(active)], {})

    def _pairs(self, table: str) -> int:
        """How many active lessons of a table would lie in files."""
        if not self._filing.possible:
            return 0  # there is no place for files
        return sum(self._store.count(LessonQuery(table=table, status="active", kind=kind)) for kind in FILED)

    def _file(self, table: LookupTable, saved: SavedEntries) -> None:
        table.take_over(FiledEntries(saved, self._store, self.vectors))
        self.contexts.expect(saved.contextual())

    def _give_hops(self, tables: Iterable[str]) -> None:
        """Give the hops the prompts of filed lessons, where these are not too many for them."""
        if self._hops is None or self._hops.most < 2:
            return
        if sum(len(table) for table in self.tables.values()) > MOST_LESSONS:
            self._hops.turn_off()
            return
        for name in tables:
            query = LessonQuery(table=name, status="active", kind="pair", limit=sys.maxsize)
            self._hops.take_in(self._store.prompts(query))
            filed = self.tables[name].filed
            limited = {} if filed is None else self._store.lessons_by_id(list(filed.spans()))
            waiting = (le for le in limited.values() if le.status == "superseded")
            self._hops.add([le for le in waiting if self._spans.still_speaks(le)])

    def _touched(self, since: Mapping[str, int]) -> list[str]:
        """Lessons of some tables that changed, of each table since a change of its own."""
        changes = self._store.changes(min(since.values()))
        return [c.lesson_id for c in changes if c.lesson_id and c.table in since and c.seq > since[c.table]]

    def _purge(self, since: int | None) -> None:
        """Remove derived data of lessons that are no more: a process may have ended in the middle of forgetting.

        Args:
            since: a change up to which somebody has done so; None = look at all that there is.
        """
        if since is None:
            idle = [
                i for i in self._derived.ids().difference(*(t.ids() for t in self.tables.values())) if i not in self
            ]
        else:
            idle = [c.lesson_id for c in self._store.changes(since) if c.kind == "forgotten"]
        gone = set(idle) - set(self._store.lessons_by_id(idle))
        if gone:
            _log.info("derived data of %d forgotten lessons is removed", len(gone))
            self._derived.delete(gone)

    def _catch_up(self, ready: Mapping[str, Encoded]) -> None:
        changes = self._store.changes(self._seq)
        if any(c.kind == "table" for c in changes):
            self._read_tables()
        self._follow([c.lesson_id for c in changes if c.lesson_id], ready)
        self._read_beside()
        self._seq = max((c.seq for c in changes), default=self._seq)

    def _follow(self, ids: Sequence[str], ready: Mapping[str, Encoded] | None = None) -> None:
        """Take lessons over as they are now in the store; one that is live still may have another span."""
        touched = list(dict.fromkeys(ids))
        now = self._store.lessons_by_id(touched)
        self._remove(touched)
        self.past.catch_up(touched, now)
        gone = [i for i in touched if i not in now]
        if gone:
            self._corrections.drop(gone)
            self.words.drop(gone)
            self._derived.delete(gone)  # another process may have put something back after it was forgotten
        self._add([lesson for lesson in now.values() if self.is_live(lesson)], ready or {})

    def is_live(self, lesson: Lesson) -> bool:
        """Whether a lesson is active, or superseded and holds until the time of its successor has come."""
        waits = lesson.status == "superseded" and self._spans.still_speaks(lesson)
        return lesson.status == "active" or waits

    def _read_tables(self) -> list[str]:
        """Take over tables and their settings; names of those that there are."""
        known = {info.name: info.settings for info in self._store.tables()}
        for name in set(self.tables) - set(known):
            ids = self.tables.pop(name).ids()
            if self._hops is not None:
                self._hops.remove(ids)
            for lesson_id in ids:
                self.contexts.remove(lesson_id)
            self.sealed.remove_table(name)
            self.passages.remove_table(name)
            self._filing.delete(name)
        for name, settings in known.items():
            table = self.tables.setdefault(name, LookupTable(name, settings, self._keys, self._gate, self.words))
            table.settings = settings
        return list(known)

    def _home(self, lesson_id: object) -> LookupTable | None:
        return next((table for table in self.tables.values() if lesson_id in table), None)

    def _remove(self, ids: Sequence[str]) -> None:
        self.passages.remove(ids)
        if self._hops is not None:
            self._hops.remove(ids)
        self.sealed.remove(ids)
        for lesson_id in ids:
            self.contexts.remove(lesson_id)
            home = self._home(lesson_id)
            if home is not None:
                home.remove(lesson_id)

    def _add(self, lessons: Sequence[Lesson], ready: Mapping[str, Encoded]) -> None:
        self.sealed.add([le for le in lessons if le.kind == "sealed"])
        texts = [le for le in lessons if le.kind == "passage"]
        self.passages.add(texts, {le.id: ready[le.id].vector for le in texts if le.id in ready})
        lessons = [le for le in lessons if le.kind in FILED]
        if not lessons:
            return
        self.words.keep({le.id: ready[le.id] for le in lessons if le.id in ready})
        for name in dict.fromkeys(le.table for le in lessons):
            mine = [le for le in lessons if le.table == name]
            spans = {le.id: span for le in mine if (span := self._spans.of(le)) is not None}
            self.tables[name].add(
                [le.id for le in mine],
                [le.question for le in mine],
                self.vectors.of(mine, {i: encoded.vector for i, encoded in ready.items()}),
                spans,
            )
        self.contexts.add(lessons)
        if self._hops is not None:
            self._hops.add(lessons)

    def _read_beside(self) -> None:
        self.beside.clear()
        for one, other in self._store.conflicts():
            self.beside.setdefault(one, set()).add(other)
            self.beside.setdefault(other, set()).add(one)

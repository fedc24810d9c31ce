"""Memory: all look-up tables on one base model, kept in step with the store."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import SettingsError, StoreBusyError, TableNotFoundError
from everlearn.memory.contents import Contents
from everlearn.memory.correction import Correction
from everlearn.memory.cursor import Cursor
from everlearn.memory.gate import Gate
from everlearn.memory.hops import Found, Hops
from everlearn.memory.judging import Judging
from everlearn.memory.key import KeyMaker
from everlearn.memory.passage_gate import PassageGate
from everlearn.memory.phrase import Encoded
from everlearn.memory.recall import (
    Decided,
    Recall,
    to_be_read,
    with_hops,
)
from everlearn.memory.sealed import SealedEntries, base_of, value_of
from everlearn.memory.shelves import Shelves
from everlearn.memory.table import LookupTable
from everlearn.memory.values import Corrections
from everlearn.records import Lesson, TableInfo, TableSettings
from everlearn.store.port import DerivedStore, LessonStore

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
        self.gate = gate
        self.hops = hops
        base = base_of(corrections.model.digest, corrections.model.number_format)
        self.passages = Shelves(derived, keys, passage_gate or PassageGate.packaged())
        self.sealed = SealedEntries(keys.digest, base, keys.width)
        self._contents = Contents(
            store, derived, keys, gate, corrections, passages=self.passages, sealed=self.sealed, hops=hops
        )
        self.lock = self._contents.lock
        self._tables = self._contents.tables
        self._judging = Judging(store, keys, self._contents, hops)

    def refresh(self, ready: Mapping[str, Encoded] | None = None) -> int:
        """Take over what changed in the store.

        Args:
            ready: lesson id -> its prompt as encoded (of a passage its windows), where the caller has that.

        Returns:
            The number of the change up to which the tables are now true.
        """
        with self.lock:
            return self._contents.refresh(ready)

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._contents

    def close(self) -> None:
        """Take over what another process forgot, file what is being filed, and release the stores."""
        with ExitStack() as closing:  # last to first, each whatever becomes of the others
            closing.callback(self.derived.close)
            closing.callback(self.store.close)
            closing.callback(self._contents.upkeep.close)
            self.refresh()  # what was forgotten since the last question leaves the derived data, too

    def filed(self) -> None:
        """Return when large tables lie in files as far as they have to."""
        with self.lock:
            self.refresh()
        self._contents.upkeep.wait()

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
        without: Collection[str] = (),
    ) -> list[Recall]:
        """Find, for each question, the entry that may speak.

        Args:
            queries: (question, the user's messages before it, oldest first).
            tables: names to ask; None = all that belong to nobody; () = none.
            as_of: ask the lessons that hold at this moment, superseded ones too; None = now.
            without: ids of lessons that are passed over, as if their rows were not there.
        """
        with self.lock:
            begun = time.perf_counter()
            for _ in range(_ATTEMPTS):
                self.refresh()
                decided = self._judging.decided(queries, names := self._asked(tables), as_of, without)
                needed = {hit.lesson_id for hit, _ in decided if hit is not None}
                needed.update(lesson_id for _, seen in decided for lesson_id in to_be_read(seen))
                lessons = self.store.lessons_by_id(list(needed)) if needed else {}
                if len(lessons) == len(needed):
                    break  # else another process forgot one of them this instant: look again
            else:
                raise StoreBusyError("Lessons vanish while they are looked up.", hint="Ask again.")
            asked = zip(queries, decided, strict=True)  # of the past only what was taught of it is told
            found = [
                None if as_of is not None else self._judging.in_hops(query, each, names, without)
                for (query, _), each in asked
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
            wanted = None if ids is None else list(ids)
            todo: list[tuple[Lesson, TableSettings]] = []
            for name, table in self._tables.items():
                mine = table.ids() if wanted is None else [i for i in wanted if i in table]
                try:
                    mine = self.corrections.missing(mine, table.settings)
                except SettingsError as cause:  # blocks that this model has not; whoever asks the table is told
                    _log.warning("table %s: %s", name, cause)
                    continue
                todo += [(lesson, table.settings) for lesson in self.store.lessons_by_id(mine).values()]
            return todo

    def vector_of(self, lesson: Lesson) -> NDArray[np.float32]:
        """Key vector [K] of a lesson of the store, active or not."""
        row: NDArray[np.float32] = self._contents.vectors.of([lesson])[0]
        return row

    def vectors_of(self, lessons: Sequence[Lesson]) -> NDArray[np.float32]:
        """Key vectors [N, K] of at least one lesson of the store, active or not."""
        return self._contents.vectors.of(lessons)

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

    def encoded_of(self, lessons: Sequence[Lesson]) -> dict[str, Encoded]:
        """What the keys of lessons are made of, by id, as it is kept; what is missing is made."""
        if not lessons:
            return {}
        states = self._contents.words.of({le.id: le.question for le in lessons})
        return {
            le.id: Encoded(v, states[le.id]) for le, v in zip(lessons, self._contents.vectors.of(lessons), strict=True)
        }

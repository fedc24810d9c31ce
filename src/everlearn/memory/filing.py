"""Filing: the entries of large tables are put into files, added to them, and written anew when these are outgrown.

Files are true up to a numbered change of the store. Whoever opens them looks at what changed since, so a process that
ends at any moment loses nothing: what it had not published is filed again. What is forgotten while files are written is
left out of them, or wiped from them by whoever forgot it, since `forget` waits for the folder's lock.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import StoreError
from everlearn.memory import entry_files
from everlearn.memory import saved as files
from everlearn.memory.clusters import how_many, train
from everlearn.memory.coded import CodedLists
from everlearn.memory.saved import NO_TIME, Columns, NewEntries, SavedEntries, words_digest
from everlearn.memory.spans import Spans
from everlearn.memory.vectors import KeyVectors
from everlearn.records import Lesson, LessonKind
from everlearn.store.port import DerivedStore, LessonQuery, LessonStore
from everlearn.store.row_files import MovedError, RowFiles
from everlearn.store.row_folder import ID, Rows, manifest_of
from everlearn.store.times import Span, micros
from everlearn.text.clean import same_words

_log = logging.getLogger(__name__)
LARGE = 20_000  # entries from which on a table is filed
MOST_NEW = 8_192  # entries in memory beside files, at which they are added to these
_AT_ONCE = 10_000  # lessons that are read together
FILED: tuple[LessonKind, ...] = ("pair", "context_pair")  # kinds that lie in files


@final
class Filing:
    """Reads and writes the files of tables. Knows no lock but that of a folder; callers see to the memory's.

    Attributes:
        large: entries from which on a table is filed.
        most_new: entries beside files, at which they are added to these.

    Args:
        store: lessons.
        derived: says where the files lie.
        vectors: key vectors of lessons.
        width: K.
        spans: from when to when lessons are true.
    """

    def __init__(
        self, store: LessonStore, derived: DerivedStore, vectors: KeyVectors, width: int, spans: Spans
    ) -> None:
        self.large, self.most_new = LARGE, MOST_NEW
        self._store = store
        self._root = derived.rows
        self._vectors = vectors
        self._width = width
        self._spans = spans

    @property
    def possible(self) -> bool:
        """Whether there is a place for files."""
        return self._root is not None

    def there(self, table: str) -> bool:
        """Whether a table has files."""
        return self._root is not None and manifest_of(self._files(table).folder) is not None

    def read(self, table: str) -> SavedEntries | None:
        """The filed entries of a table as somebody wrote them last; None where there are none."""
        return SavedEntries.read(self._files(table)) if self._root is not None else None

    def delete(self, table: str) -> None:
        """Remove the files of a table that is no more. Where this account cannot, whoever deleted it could."""
        if self._root is not None and os.access(self._root, os.W_OK):
            entry_files.delete_table(self._root, table)

    def delete_others(self, tables: Collection[str]) -> None:
        """Remove the files of all tables but these: of tables that are no more, or are small again."""
        if self._root is not None and os.access(self._root, os.W_OK):
            entry_files.delete_tables_but(self._root, tables)

    def from_store(self, table: str, seq: int) -> SavedEntries | None:
        """File all live lessons of a table, read portion by portion; None where nothing can be written.

        Args:
            table: its name.
            seq: newest change of the store before this is called.
        """
        try:
            self._files(table).prepare()  # before the lessons are read, which takes minutes for a million
            _log.info("the entries of table %s are put into files; this is done once", table)
            return self.anew(table, joined([self._entries(lessons) for lessons in self._live(table)]), seq)
        except StoreError as cause:
            _log.warning("the entries of table %s stay in memory: %s", table, cause)
            return None

    def anew(self, table: str, entries: NewEntries, seq: int) -> SavedEntries:
        """Write the files of a table anew, with clusters made for these entries, which were true at change `seq`.

        Raises:
            StoreError: they cannot be written.
        """
        self._files(table).prepare()  # before clusters are made in vain
        centres = train(entries.vectors, how_many(len(entries.ids)))
        columns, gone = files.columns_of(entries, CodedLists(centres), centres), set[str]()
        while True:
            gone = self._forgotten(seq)
            columns = _without(columns, gone)
            try:
                return files.replace(self._files(table), centres, columns, seq, lambda: self._forgotten(seq) <= gone)  # noqa: B023
            except MovedError:
                continue  # a lesson was forgotten this instant: it has to be left out

    def written(self, saved: SavedEntries, columns: Columns, seq: int) -> Rows:
        """Write more rows into files; what is found stays as it was until `take_up`.

        Raises:
            MovedError: another process wrote the files; read them.
            StoreError: they cannot be written.
        """
        while True:
            gone = self._forgotten(seq)
            columns = _without(columns, gone)
            try:
                return saved.write(columns, seq, lambda: self._forgotten(seq) <= gone)  # noqa: B023
            except MovedError:
                if not saved.current:
                    raise

    def _files(self, table: str) -> RowFiles:
        assert self._root is not None, "files without a folder"
        return entry_files.open_files(self._root, self._vectors.kind, self._width, table)

    def _forgotten(self, since: int) -> set[str]:
        return {change.lesson_id for change in self._store.changes(since) if change.kind == "forgotten"}

    def _live(self, table: str) -> Iterator[list[Lesson]]:
        """Lessons with a question that are active, and superseded ones that still speak, in portions."""
        for kind in FILED:
            query = LessonQuery(table=table, status="active", kind=kind, limit=sys.maxsize)
            ids = [lesson_id for lesson_id, _ in self._store.prompts(query)]  # at one moment: none is passed over
            for first in range(0, len(ids), _AT_ONCE):
                page = list(self._store.lessons_by_id(ids[first : first + _AT_ONCE]).values())
                yield [*page, *self._spans.waiting(page)]

    def _entries(self, lessons: Sequence[Lesson]) -> NewEntries:
        spans = {le.id: span for le in lessons if (span := self._spans.of(le)) is not None}
        return NewEntries(
            [le.id for le in lessons],
            self._vectors.of(lessons).astype(np.float16),
            digests([le.question for le in lessons]),
            span_rows([spans.get(le.id) for le in lessons]),
            np.array([bool(le.context) for le in lessons]),
        )


def digests(questions: Sequence[str]) -> NDArray[np.uint64]:
    """[N], digests of the words of questions."""
    return np.array([words_digest(same_words(question)) for question in questions], np.uint64)


def span_rows(spans: Sequence[Span | None]) -> NDArray[np.int64]:
    """[N, 2], spans as files hold them; None = always."""
    found = np.full((len(spans), 2), NO_TIME)
    for n, span in enumerate(spans):
        for which, time in enumerate(span or ()):
            if time is not None:
                found[n, which] = micros(time)
    return found


def joined(parts: Sequence[NewEntries]) -> NewEntries:
    """Several lots of entries as one, each lesson once (its first)."""
    ids = [lesson_id for part in parts for lesson_id in part.ids]
    vectors = np.concatenate([part.vectors.astype(np.float16, copy=False) for part in parts])
    words, spans = np.concatenate([p.words for p in parts]), np.concatenate([p.spans for p in parts])
    flags = np.concatenate([np.zeros(len(p.ids), np.bool_) if p.contextual is None else p.contextual for p in parts])
    if len(set(ids)) == len(ids):
        return NewEntries(ids, vectors, words, spans, flags)
    first = sorted({lesson_id: n for n, lesson_id in reversed(list(enumerate(ids)))}.values())
    return NewEntries([ids[n] for n in first], vectors[first], words[first], spans[first], flags[first])


def _without(columns: Columns, gone: Collection[str]) -> Columns:
    if not gone:
        return columns
    unwanted = np.array([i.encode("ascii", "replace") for i in gone], columns[ID].dtype)
    kept = np.flatnonzero(~np.isin(columns[ID], unwanted))
    return columns if len(kept) == len(columns[ID]) else {name: column[kept] for name, column in columns.items()}

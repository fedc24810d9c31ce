"""Upkeep: large tables are filed in the background, while they are asked and taught."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import EverlearnError
from everlearn.memory.contexts import Contexts
from everlearn.memory.filing import Filing, digests, joined, span_rows
from everlearn.memory.saved import NewEntries, SavedEntries
from everlearn.memory.table import LookupTable, NewRows
from everlearn.store.row_files import MovedError
from everlearn.store.row_folder import Rows

_log = logging.getLogger(__name__)
REST_SECONDS = 300.0  # after a failure; after each that follows twice as long, since clusters take minutes to make
_LONGEST_REST_SECONDS = 4 * 3600.0


class Kept(Protocol):
    """What upkeep needs of all that can be asked. The caller holds the memory's lock."""

    contexts: Contexts

    def refresh(self) -> int:
        """Take over what changed in the store; the number of the newest change."""
        ...

    def take_over(self, table: LookupTable, saved: SavedEntries, written: Rows | None) -> None:
        """Make a table look into these files, with what was written into them."""
        ...

    def read_again(self, ids: Sequence[str]) -> None:
        """Take lessons anew from the store."""
        ...


@final
class Upkeep:
    """One thread that files what has to be filed and then ends; it holds the memory's lock for moments only.

    Args:
        filing: reads and writes files.
        lock: the memory's.
        kept: what is kept in step with the store.
    """

    def __init__(self, filing: Filing, lock: threading.RLock, kept: Kept) -> None:
        self._filing = filing
        self._lock = lock
        self._kept = kept
        self._thread: threading.Thread | None = None
        self._rests: dict[str | None, tuple[float, float]] = {}  # table, None = all -> until when it rests, how long
        self._closed = False

    def look(self, tables: Mapping[str, LookupTable]) -> None:
        """Begin where a table is due. The caller holds the memory's lock."""
        if self._closed or not self._filing.possible or (self._thread is not None and self._thread.is_alive()):
            return
        if any(self._due(table) for table in tables.values()):
            self._thread = threading.Thread(target=self._run, args=(tables,), name="everlearn-filing", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being filed."""
        while (thread := self._thread) is not None and thread.is_alive():
            thread.join()

    def close(self) -> None:
        """Begin nothing more, and return when what was begun is done."""
        with self._lock:
            self._closed = True
        self.wait()

    def rest(self, table: str | None) -> None:
        """Leave a table (None = all) alone for a while: what failed may pass, and need not be tried at each change."""
        seconds = min(2 * self._rests[table][1], _LONGEST_REST_SECONDS) if table in self._rests else REST_SECONDS
        self._rests[table] = (time.monotonic() + seconds, seconds)

    def _due(self, table: LookupTable) -> bool:
        now = time.monotonic()
        if any(now < self._rests[name][0] for name in (None, table.name) if name in self._rests):
            return False
        if table.filed is None:
            return table.new >= self._filing.large
        saved = table.filed.saved
        outgrown = saved.outgrown and len(table) >= self._filing.large // 2
        return table.new >= self._filing.most_new or outgrown or bool(saved.damaged) or self._written_by_others(table)

    def _written_by_others(self, table: LookupTable) -> bool:
        assert table.filed is not None
        return not table.filed.saved.current and (len(table) >= self._filing.large or self._filing.there(table.name))

    def _run(self, tables: Mapping[str, LookupTable]) -> None:
        while not self._closed and self._round(tables):
            pass

    def _round(self, tables: Mapping[str, LookupTable]) -> bool:
        """Tend one table that is due; False = none is, or nothing can be done now."""
        due: LookupTable | None = None
        try:
            with self._lock:
                self._kept.refresh()
                due = next((table for table in tables.values() if self._due(table)), None)
                if due is None:
                    self._thread = None  # inside the lock: who finds a table due from now on begins anew
                    return False
            self._tend(due)
        except MovedError:
            pass  # another process wrote the files meanwhile: they are read
        except EverlearnError as cause:
            _log.warning("the entries of %s are not filed for now: %s", _named(due), cause)
            self.rest(None if due is None else due.name)
        except Exception:  # noqa: BLE001  of faiss and torch; or the next change would begin it all again
            _log.exception("the entries of %s are not filed for now", _named(due))
            self.rest(None if due is None else due.name)
        else:
            self._rests.pop(None, None)
            self._rests.pop(due.name, None)
        return due is not None

    def _tend(self, table: LookupTable) -> None:
        """Bring the files of a table up to date, and let it look there."""
        with self._lock:
            seq = self._kept.refresh()
            lost = [] if table.filed is None else table.filed.saved.lost()
            self._kept.read_again(lost)
            filed, rows = table.filed, table.rows()
            contextual = np.array([i in self._kept.contexts for i in rows.ids], np.bool_)
        written: Rows | None = None
        if filed is not None and not filed.saved.current and (theirs := self._filing.read(table.name)) is not None:
            saved = theirs
        elif filed is None or lost or filed.saved.outgrown or not filed.saved.current:
            # Also for a damaged row: to append it again would wipe the old one before the new one counts, and no
            # change in the store would tell of it to whoever opens the files after a crash in between.
            kept = [] if filed is None else [filed.saved.entries()]
            saved = self._filing.anew(table.name, joined([*kept, _entries(rows, contextual)]), seq)
        else:
            saved = filed.saved
            written = self._filing.written(saved, saved.coded(_entries(rows, contextual)), seq)
        with self._lock:  # in one block: a lesson lies in memory or in the files, never in both
            self._kept.take_over(table, saved, written)


def _named(table: LookupTable | None) -> str:
    return "large tables" if table is None else f"table {table.name}"


def _entries(rows: NewRows, contextual: NDArray[np.bool_]) -> NewEntries:
    spans = span_rows([rows.spans.get(i) for i in rows.ids])
    return NewEntries(rows.ids, rows.vectors, digests(rows.questions), spans, contextual)

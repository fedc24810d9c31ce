"""Entries of a large look-up table, in files: opened in a second, searched by cluster, wiped where they lie.

Only what recall needs lies here: ids, vectors at half precision, a digest of the words, from when to when an entry is
true. Prompts and answers are read from the store, for the few entries that a question finds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from everlearn.memory.clusters import Steps, assign, how_many, train
from everlearn.memory.coded import CodedLists
from everlearn.store.row_files import RowFiles
from everlearn.store.row_folder import ID, ID_TYPE, Rows

PROBES = 96
MARGIN = 0.2  # of cosine
RESCORED = 384  # of a query's nearest codes; each entry has two
_GROWTH = 4  # clusters are made anew when there are so many times the entries they were made for
_MOST_DEAD = 0.25  # share of removed rows at which files are rewritten without them
_AT_ONCE = 65_536

Still = Callable[[], bool]
Columns = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class NewEntries:
    """Entries to be saved.

    Attributes:
        ids: [N].
        vectors: [N, K], unit length; in half precision or more.
        words: [N], digests of their words.
        spans: [N, 2], microseconds since 1970 from when and until when they are true; `NO_TIME` = without end.
        contextual: [N], which hold in a context only; None = none.
    """

    ids: Sequence[str]
    vectors: NDArray[np.float32] | NDArray[np.float16]
    words: NDArray[np.uint64]
    spans: NDArray[np.int64]
    contextual: NDArray[np.bool_] | None = None


NO_TIME = int(np.iinfo(np.int64).min)


def words_digest(words: str) -> int:
    """64 bits that are equal for equal words; others share them once in 10^19 pairs."""
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")


def build(files: RowFiles, entries: NewEntries, seq: int, still: Still, progress: Steps | None = None) -> SavedEntries:
    """Save entries as a table of its own: find clusters, code the vectors, write the files.

    Raises:
        MovedError: `still` says no; nothing is written.
        StoreError: the folder cannot be written.
    """
    centres = train(entries.vectors, how_many(len(entries.ids)), progress=progress)
    return replace(files, centres, columns_of(entries, CodedLists(centres), centres), seq, still)


def replace(files: RowFiles, centres: NDArray[np.float32], columns: Columns, seq: int, still: Still) -> SavedEntries:
    """Make these columns, coded by these centres, the files of a table. Raises as `build` does."""
    return SavedEntries(files, files.replace(columns, {"centres": centres}, seq, still))


@final
class SavedEntries:
    """The entries of one table as they were saved, less what was removed since.

    Attributes:
        files: the folder.
        damaged: ids of entries whose vectors were found damaged; they are not found any more.

    Args:
        files: the folder.
        rows: as read from it.
    """

    def __init__(self, files: RowFiles, rows: Rows) -> None:
        self.files = files
        self.damaged: set[str] = set()
        self._lists = CodedLists(rows.extra["centres"])
        self._centres = rows.extra["centres"]
        self._rows = rows
        self._dead = np.zeros(0, np.bool_)
        self._whole = True  # False = taking up rows was cut short
        self.take_up(rows)

    @classmethod
    def read(cls, files: RowFiles) -> SavedEntries | None:
        """The entries that were saved last; None where there are none, or they are damaged."""
        rows = files.read()
        return None if rows is None else cls(files, rows)

    @property
    def seq(self) -> int:
        """Change of the store up to which the files are true."""
        return self._rows.seq

    @property
    def nbytes(self) -> int:
        """Bytes held in memory beside the files."""
        arrays = (self._dead, self._sorted_ids, self._id_order, self._sorted_words, self._words_order)
        return self._lists.nbytes + sum(a.nbytes for a in arrays)

    @property
    def outgrown(self) -> bool:
        """Whether the files should be made anew: too many entries for their clusters, or too many removed ones."""
        many = len(self._dead)
        return many - len(self) > _MOST_DEAD * many or how_many(len(self)) >= 2 * self._lists.clusters

    def __len__(self) -> int:
        return int(len(self._dead) - self._dead.sum())

    def __contains__(self, lesson_id: object) -> bool:
        return isinstance(lesson_id, str) and len(self._places_of(lesson_id)) > 0

    def remove(self, lesson_id: str) -> None:
        """Let an entry be found no more. Its bytes go with `wipe`, or when entries are saved the next time."""
        places = self._places_of(lesson_id)
        assert len(places), "a saved entry is removed twice"
        self._drop(places)

    def lost(self) -> list[str]:
        """Ids of entries that were found damaged since this was asked last."""
        damaged, self.damaged = self.damaged, set()
        return [lesson_id for lesson_id in damaged if lesson_id in self]

    def with_words(self, digest: int) -> list[str]:
        """Ids of entries with this digest of their words, oldest first."""
        wanted = np.uint64(digest)
        first, last = (np.searchsorted(self._sorted_words, wanted, side) for side in ("left", "right"))
        places = np.sort(self._words_order[first:last])
        return [i for p in places if not self._dead[p] and (i := self._id(int(p)))]

    def spans(self) -> dict[str, tuple[int, int]]:
        """From when and until when entries are true, for those that are not always; `NO_TIME` = without end."""
        limited = np.flatnonzero((self._rows.columns["spans"] != NO_TIME).any(1) & ~self._dead)
        spans = self._rows.columns["spans"][limited].tolist()
        return {i: (begin, end) for p, (begin, end) in zip(limited, spans, strict=True) if (i := self._id(int(p)))}

    def search(self, vector: NDArray[np.float32], most: int) -> list[tuple[str, float]]:
        """About the `most` nearest entries of a unit vector [K], nearest first, with their cosines."""
        places = self._lists.search(vector, probes=PROBES, margin=MARGIN, most=max(RESCORED, 2 * most))
        # A damaged vector would rank anywhere, so all that are scored are checked, not only the best.
        read, sound = self.files.checked(self._rows, places)
        if not sound.all():
            self.damaged.update(self._id(int(p)) for p in places[~sound])
        rows = torch.from_numpy(read["vectors"]).float()
        scores = torch.mv(rows, torch.from_numpy(np.array(vector, np.float32))).numpy()
        scores[~sound] = -np.inf
        best = np.argsort(-scores, kind="stable")[:most]
        found = [(self._id(int(places[n])), float(scores[n])) for n in best if sound[n]]
        return sorted((pair for pair in found if pair[0]), key=lambda pair: (-pair[1], pair[0]))

    def append(self, entries: NewEntries, seq: int, still: Still) -> None:
        """Save more entries, and wipe the removed ones.

        Raises:
            MovedError: another process saved meanwhile, or `still` says no; nothing is written.
            StoreError: the folder cannot be written.
        """
        self.take_up(self.write(self.coded(entries), seq, still))

    def coded(self, entries: NewEntries) -> Columns:
        """What is to be written of more entries. Nothing here is changed, so that searches may go on meanwhile."""
        return columns_of(entries, self._lists, self._centres)

    def write(self, columns: Columns, seq: int, still: Still) -> Rows:
        """Write more rows, and wipe the removed ones. Raises as `append`; `take_up` makes the new ones findable."""
        gone = np.flatnonzero(self._dead & self._rows.live())
        return self.files.append(self._rows, columns, seq, still, wiped=gone)

    def take_up(self, rows: Rows) -> None:
        """Find what `write` has written, too, and count what was wiped since among the removed."""
        self._whole = False
        known, self._rows = len(self._dead), rows
        self._dead = np.concatenate([self._dead, np.zeros(len(rows) - known, np.bool_)])
        # From one copy: a row that is wiped a moment later can be removed by the id that it had.
        ids, words = np.array(rows.columns[ID]), np.array(rows.columns["words"])
        self._id_order, self._words_order = (np.argsort(c, kind="stable").astype(np.uint32) for c in (ids, words))
        self._sorted_ids, self._sorted_words = ids[self._id_order], words[self._words_order]
        self._drop(np.flatnonzero((ids == b"") & ~self._dead))
        places = known + np.flatnonzero(~self._dead[known:])
        for n in range(0, len(places), _AT_ONCE):
            some = places[n : n + _AT_ONCE]
            self._lists.add(some, rows.columns["lists"][some], rows.columns["codes"][some])
        self._whole = True

    @property
    def current(self) -> bool:
        """Whether all that the files hold is found here: no other process has written them since."""
        return self._whole and self.files.current(self._rows)

    def ids(self) -> list[str]:
        """Ids of all that are there."""
        return [i.decode() for i in self._rows.columns[ID][self._places()].tolist() if i]

    def contextual(self) -> list[str]:
        """Ids of those that hold in a context only."""
        places = np.flatnonzero((self._rows.columns["contextual"] != 0) & ~self._dead)
        return [i for p in places if (i := self._id(int(p)))]

    def among(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are there."""
        wanted = np.array([i.encode("ascii", "replace") for i in ids], ID_TYPE)
        first, last = (np.searchsorted(self._sorted_ids, wanted, side) for side in ("left", "right"))
        found: set[str] = set()
        for nth in range(int((last - first).max(initial=0))):  # an id that was replaced is there more than once
            held = first + nth < last
            places = self._id_order[first[held] + nth]
            there = ~self._dead[places] & (self._rows.columns[ID][places] != b"")
            found.update(i.decode() for i in wanted[held][there].tolist())
        return found

    def entries(self) -> NewEntries:
        """All that are there: what `build` needs to save them anew."""
        places, columns = self._places(), self._rows.columns
        names = columns[ID][places]
        places, names = places[names != b""], names[names != b""]  # another process may wipe at this moment
        ids = [i.decode() for i in names.tolist()]
        vectors = np.asarray(columns["vectors"])[places]
        flags = columns["contextual"][places] != 0
        return NewEntries(ids, vectors, columns["words"][places], columns["spans"][places], flags)

    def _places(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self._dead & self._rows.live())

    def _places_of(self, lesson_id: str) -> NDArray[np.int64]:
        """Where an entry lies that was not removed; also one that another process has wiped, until it is."""
        wanted = np.array(lesson_id.encode("ascii", "replace"), f"S{max(len(lesson_id), 1)}")
        first, last = (int(np.searchsorted(self._sorted_ids, wanted, side)) for side in ("left", "right"))
        places = self._id_order[first:last].astype(np.int64)
        return places[~self._dead[places]]

    def _drop(self, places: NDArray[np.int64]) -> None:
        self._dead[places] = True
        self._lists.remove(places)

    def _id(self, place: int) -> str:
        return bytes(self._rows.columns[ID][place]).decode()


def columns_of(entries: NewEntries, lists: CodedLists, centres: NDArray[np.float32]) -> Columns:
    """Columns of the files; computed over portions, since a million vectors should be in memory once at most."""
    vectors = np.asarray(entries.vectors, "<f2")
    clusters, codes = [np.zeros((0, 2), np.int32)], [np.zeros((0, 2 * lists.code_bytes), np.uint8)]
    for first in range(0, len(vectors), _AT_ONCE):
        part = vectors[first : first + _AT_ONCE].astype(np.float32)
        clusters.append(assign(part, centres))
        codes.append(lists.encode(part, clusters[-1]))
    return {
        ID: np.array([i.encode("ascii") for i in entries.ids], ID_TYPE),
        "words": entries.words,
        "spans": entries.spans,
        "contextual": np.zeros(len(vectors), np.uint8) if entries.contextual is None else entries.contextual,
        "lists": np.concatenate(clusters),
        "codes": np.concatenate(codes),
        "vectors": vectors,
    }

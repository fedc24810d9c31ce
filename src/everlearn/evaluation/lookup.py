"""How the index of a look-up table scales: built, opened, searched, appended to and forgotten from, by size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from everlearn.evaluation.latency import percentile
from everlearn.evaluation.machine import commit, machine, resident_bytes, versions
from everlearn.evaluation.table_scale import TableCost
from everlearn.memory.entry_files import open_files
from everlearn.memory.index import ExactIndex
from everlearn.memory.saved import NO_TIME, NewEntries, SavedEntries, build
from everlearn.store import row_folder
from everlearn.store.ids import new_id

_NEIGHBOURS = 8
_LARGE = 16_384  # entries from where on the exact search takes longer than the search by clusters
_CHANGES = 64  # entries appended, and as many forgotten
_AT_ONCE = 65_536

Step = Callable[[str], None]


class _Searched(Protocol):
    def search(self, vector: NDArray[np.float32], most: int) -> list[tuple[str, float]]: ...


@dataclass(frozen=True, slots=True)
class LookupCost:
    """The index at one size. Times of a search are on one core.

    Attributes:
        entries: how many.
        index: "exact", or "clusters" for saved entries.
        build_s: to build and save it, on all cores, without encoding.
        open_s: to open it again, until the first search is answered.
        search_ms_p50: median of a search for the eight nearest.
        search_ms_p99: 99th percentile of the same.
        recall_at_8: share of the eight nearest, by brute force, that are found.
        append_ms: to save 64 more entries, each.
        forget_ms: median to forget one: found no more, and wiped from the files.
        disk_bytes: of the files.
        index_bytes: held in memory beside the files.
        resident_bytes: of the whole process after all searches, pages of the files that were read included.
    """

    entries: int
    index: str
    build_s: float
    open_s: float
    search_ms_p50: float
    search_ms_p99: float
    recall_at_8: float
    append_ms: float
    forget_ms: float
    disk_bytes: int
    index_bytes: int
    resident_bytes: int

    @property
    def build_rate(self) -> float:
        """Entries a second."""
        return self.entries / max(self.build_s, 1e-9)


@dataclass(frozen=True, slots=True)
class LookupReport:
    """The index at several sizes.

    Attributes:
        encoded: how many of the vectors are encodings; the others are composed of these.
        queries: how many encodings, not among the entries, were searched for.
        sizes: cost of the index at each size.
        tables: cost of the whole table, through the engine, at each size; none where that was not asked for.
        where: machine, versions, commit.
    """

    encoded: int
    queries: int
    sizes: tuple[LookupCost, ...]
    tables: tuple[TableCost, ...] = ()
    where: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_lookup(
    vectors: NDArray[np.float16], queries: NDArray[np.float32], sizes: Sequence[int], folder: Path, step: Step
) -> tuple[LookupCost, ...]:
    """Measure the index at each size, over the first so many vectors.

    Args:
        vectors: [N, K], unit length.
        queries: [Q, K], unit length.
        sizes: at most N each.
        folder: for files; an empty one.
        step: told what is done now.
    """
    costs = []
    for size in sizes:
        step(f"{size:,} entries")
        measured = _small if size < _LARGE else _large
        costs.append(measured(vectors[:size], queries, folder / str(size)))
    return tuple(costs)


def report_of(
    encoded: int, queries: int, sizes: tuple[LookupCost, ...], tables: Sequence[TableCost] = ()
) -> LookupReport:
    """The costs, with where they were measured."""
    return LookupReport(
        encoded, queries, sizes, tuple(tables), {"machine": machine(), "versions": versions(), "commit": commit()}
    )


def nearest(vectors: NDArray[np.float16], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """Places [Q, 8] of the nearest vectors by brute force, over portions in 32 bits."""
    wanted = torch.from_numpy(queries)
    best = torch.full((len(queries), 0), 0.0)
    places = torch.full((len(queries), 0), 0)
    for first in range(0, len(vectors), _AT_ONCE):
        scores = wanted @ torch.from_numpy(vectors[first : first + _AT_ONCE].astype(np.float32)).T
        best = torch.cat([best, scores], 1)
        places = torch.cat([places, torch.arange(first, first + scores.shape[1]).expand(len(queries), -1)], 1)
        best, chosen = best.topk(min(_NEIGHBOURS, best.shape[1]), dim=1)
        places = places.gather(1, chosen)
    found: NDArray[np.int64] = places.numpy()
    return found


def _small(vectors: NDArray[np.float16], queries: NDArray[np.float32], folder: Path) -> LookupCost:
    ids = [new_id() for _ in range(len(vectors))]
    index = ExactIndex(vectors.shape[1])
    build_s = _seconds(lambda: index.add(ids, vectors.astype(np.float32)))
    times, recall = _searched(index, ids, vectors, queries)
    more = _more(vectors)
    append_s = _seconds(lambda: index.add(more.ids, more.vectors.astype(np.float32)))
    forget = [_seconds(lambda i=i: index.remove(i)) for i in ids[:_CHANGES]]  # type: ignore[misc]
    return LookupCost(
        entries=len(ids),
        index="exact",
        build_s=build_s,
        open_s=0.0,
        search_ms_p50=percentile(times, 0.5),
        search_ms_p99=percentile(times, 0.99),
        recall_at_8=recall,
        append_ms=append_s / _CHANGES * 1000,
        forget_ms=percentile(forget, 0.5) * 1000,
        disk_bytes=0,
        index_bytes=index.nbytes,
        resident_bytes=resident_bytes(),
    )


def _large(vectors: NDArray[np.float16], queries: NDArray[np.float32], folder: Path) -> LookupCost:
    files = open_files(folder, "bench", vectors.shape[1], "bench")
    entries = _entries(vectors)
    build_s = _seconds(lambda: build(files, entries, 1, lambda: True))
    begun = time.perf_counter()
    opened = SavedEntries.read(files)
    assert opened is not None, "what was saved this instant cannot be read"
    opened.search(queries[0], _NEIGHBOURS)
    open_s = time.perf_counter() - begun
    times, recall = _searched(opened, entries.ids, vectors, queries)
    append_s = _seconds(lambda: opened.append(_more(vectors), 2, lambda: True))
    forget = [_seconds(lambda i=i: _forget(opened, folder, i)) for i in entries.ids[:_CHANGES]]  # type: ignore[misc]
    return LookupCost(
        entries=len(vectors),
        index="clusters",
        build_s=build_s,
        open_s=open_s,
        search_ms_p50=percentile(times, 0.5),
        search_ms_p99=percentile(times, 0.99),
        recall_at_8=recall,
        append_ms=append_s / _CHANGES * 1000,
        forget_ms=percentile(forget, 0.5) * 1000,
        disk_bytes=files.stored_bytes(),
        index_bytes=opened.nbytes,
        resident_bytes=resident_bytes(),
    )


def _searched(
    index: _Searched, ids: Sequence[str], vectors: NDArray[np.float16], queries: NDArray[np.float32]
) -> tuple[list[float], float]:
    """Milliseconds of each search on one core, and recall@8."""
    truth = nearest(vectors, queries)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for query in queries[:10]:
            index.search(query, _NEIGHBOURS)
        times, hits = [], 0
        for query, wanted in zip(queries, truth, strict=True):
            begun = time.perf_counter()
            found = index.search(query, _NEIGHBOURS)
            times.append((time.perf_counter() - begun) * 1000)
            hits += len({i for i, _ in found} & {ids[place] for place in wanted})
    finally:
        torch.set_num_threads(threads)
    return times, hits / truth.size


def _forget(entries: SavedEntries, folder: Path, lesson_id: str) -> None:
    entries.remove(lesson_id)
    assert row_folder.wipe(folder, [lesson_id]) == 1


def _entries(vectors: NDArray[np.float16]) -> NewEntries:
    count = len(vectors)
    words = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    ids = [new_id() for _ in range(count)]
    return NewEntries(ids, vectors, words, np.full((count, 2), NO_TIME))


def _more(vectors: NDArray[np.float16]) -> NewEntries:
    return _entries(vectors[:_CHANGES].astype(np.float32).astype(np.float16))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

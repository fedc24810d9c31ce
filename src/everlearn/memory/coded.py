"""Codes of vectors by cluster, and the search through them.

A vector is coded as the signs of its difference from its cluster's centre: one bit for each coordinate, with two
numbers that make the estimate of its cosine unbiased. The best of a search are then to be scored by their vectors.

Source: Gao and Long 2024, RaBitQ, section 3, as faiss computes it. Why not a graph: docs/decisions/0008.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 32_768
_FEWEST_CODES = 8_192


def form() -> str:
    """What the codes are made by."""
    return f"rabitq/{version('faiss-cpu')}"


@final
class CodedLists:
    """Codes in memory, one list for each cluster; a removed row is passed over, its code stays.

    Args:
        centres: [C, K] of unit length.
    """

    def __init__(self, centres: NDArray[np.float32]) -> None:
        import faiss  # a fifth of a second, which only large tables pay

        count, width = centres.shape
        self._coarse = faiss.IndexFlatIP(width)
        self._coarse.add(np.ascontiguousarray(centres, np.float32))
        self._index: Any = faiss.IndexIVFRaBitQ(self._coarse, width, count, faiss.METRIC_INNER_PRODUCT)
        self._index.train(np.ascontiguousarray(centres, np.float32))  # nothing is learned: the centres are given
        self.code_bytes = int(self._index.code_size)
        self.clusters = count
        self.width = width
        self._sizes = np.zeros(count, np.int64)  # codes in each list
        self._removed = np.zeros(0, np.uint8)  # a bit for each place

    @staticmethod
    def bytes_of(width: int) -> int:
        """Bytes of one code of a vector [K = width]."""
        import faiss

        return int(faiss.RaBitQuantizer(width, faiss.METRIC_INNER_PRODUCT).code_size)

    @property
    def nbytes(self) -> int:
        """Bytes of codes and centres."""
        codes = int(self._index.ntotal) * (self.code_bytes + 8)
        return codes + int(self.clusters * self.width * 4)

    def encode(self, vectors: NDArray[np.float32], lists: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Codes [N, 2 * code_bytes] of vectors [N, K] in their two clusters [N, 2]."""
        from faiss import swig_ptr

        codes = np.empty((len(vectors), 2, self.code_bytes), np.uint8)
        for first in range(0, len(vectors), _AT_ONCE):
            part = np.array(vectors[first : first + _AT_ONCE], np.float32)
            for which in range(2):
                wanted = np.array(lists[first : first + _AT_ONCE, which], np.int64)
                coded = np.empty((len(part), self.code_bytes), np.uint8)
                self._index.encode_vectors(len(part), swig_ptr(part), swig_ptr(wanted), swig_ptr(coded), False)
                codes[first : first + _AT_ONCE, which] = coded
        return codes.reshape(len(vectors), -1)

    def add(self, places: NDArray[np.int64], lists: NDArray[np.int32], codes: NDArray[np.uint8]) -> None:
        """Make rows findable: their places [N], clusters [N, 2] and codes [N, 2 * code_bytes]."""
        from faiss import swig_ptr

        both = codes.reshape(len(codes), 2, self.code_bytes)
        for which in range(2):
            order = np.argsort(lists[:, which], kind="stable")
            cluster, first = np.unique(lists[order, which], return_index=True)
            rows = np.ascontiguousarray(places[order], np.int64)
            packed = np.ascontiguousarray(both[order, which])
            for name, start, end in zip(cluster, first, [*first[1:], len(order)], strict=True):
                self._index.invlists.add_entries(
                    int(name),
                    int(end - start),
                    swig_ptr(rows[start:end]),
                    swig_ptr(packed[start:end]),
                )
            self._index.ntotal += len(order)
            self._sizes += np.bincount(lists[:, which], minlength=self.clusters)

    def remove(self, places: NDArray[np.int64]) -> None:
        """Let rows be found no more: their places [N]."""
        if not len(places):
            return
        missing = int(places.max()) // 8 + 1 - len(self._removed)
        if missing > 0:
            self._removed = np.concatenate([self._removed, np.zeros(missing + len(self._removed), np.uint8)])
        np.bitwise_or.at(self._removed, places // 8, (1 << (places % 8)).astype(np.uint8))

    def search(self, vector: NDArray[np.float32], *, probes: int, margin: float, most: int) -> NDArray[np.int64]:
        """Places of about `most` rows near a vector [K], each once, from its nearest clusters.

        Args:
            vector: of unit length.
            probes: clusters to look into at most.
            margin: those whose centre's cosine is farther than this from the nearest one's are left out, once some
                thousand codes were seen: near an entry there are few others, and between clusters there are many.
            most: codes to give back; an entry has two.
        """
        query = np.array(vector, np.float32)[None]
        cosines, clusters = self._coarse.search(query, min(probes, self.clusters))
        near_enough = int(np.count_nonzero(cosines[0] >= cosines[0, 0] - margin))
        seen = np.cumsum(self._sizes[clusters[0]])
        looked = max(near_enough, min(int(np.searchsorted(seen, _FEWEST_CODES)) + 1, clusters.shape[1]))
        places = self._nearest(query, most, clusters[:, :looked], cosines[:, :looked])
        return np.unique(places[places >= 0])

    def _nearest(
        self, query: NDArray[np.float32], most: int, clusters: NDArray[np.int64], cosines: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Places of the `most` codes nearest to a query [1, K] in some clusters [1, C]; -1 where there are fewer.

        Removed rows are passed over inside the search: left out afterwards, many like the query would crowd out others.
        """
        import faiss

        near, far = np.ascontiguousarray(clusters), np.ascontiguousarray(cosines)
        estimates, places = np.empty((1, most), np.float32), np.empty((1, most), np.int64)
        typed: Any = faiss  # its stubs know neither of the two as they are called from Python
        wanted = typed.IDSelectorNot(typed.IDSelectorBitmap(self._removed)) if len(self._removed) else None
        how = typed.SearchParametersIVF(nprobe=near.shape[1], sel=wanted)
        given = [faiss.swig_ptr(array) for array in (near, far, estimates, places)]
        # The C++ method itself, since the one that faiss puts over it takes no parameters.
        self._index.search_preassigned_c(1, faiss.swig_ptr(query), most, *given, False, how)
        return places

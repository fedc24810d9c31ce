"""Unit vectors in PostgreSQL with the pgvector extension: nearest rows of a table that many machines share.

Rows lie in a table of half precision vectors under an HNSW graph. What a search finds is scored by the vectors
themselves. A removed row's bytes stay in the table's pages until a vacuum: `compact` does one, and makes the graph
anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from everlearn.errors import StoreError

_EFFORT = 200  # rows that a search keeps in view
_AT_ONCE = 2_000
_HINT = "Check that the server runs, that the URL and its password are right, and that pgvector 0.7 or newer is there."


@final
class PgVectorIndex:
    """Rows of unit vectors under ids, in one table of a PostgreSQL database.

    Args:
        url: of the database, `postgresql+psycopg://user@host/name`; the extension is created where it may be.
        table: name of the table; letters, digits and underscores. Made if missing.
        width: K, coordinates of a vector.

    Raises:
        StoreError: the server, the extension or the right to use them is missing.
    """

    def __init__(self, url: str, table: str, width: int) -> None:
        assert table.replace("_", "").isalnum(), table
        self.width = width
        self._table = f'"{table}"'
        self._engine = create_engine(url)
        with self._connected() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
            connection.execute(
                text(f"CREATE TABLE IF NOT EXISTS {self._table} (id text PRIMARY KEY, v halfvec({width:d}) NOT NULL)")
            )
            connection.execute(
                text(
                    f'CREATE INDEX IF NOT EXISTS "{table}_near" ON {self._table} '
                    "USING hnsw (v halfvec_ip_ops) WITH (m = 16, ef_construction = 100)"
                )
            )

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def __len__(self) -> int:
        return int(self._rows(f"SELECT count(*) FROM {self._table}")[0][0])

    def __contains__(self, row_id: object) -> bool:
        return bool(self._rows(f"SELECT 1 FROM {self._table} WHERE id = :id", id=str(row_id)))

    @property
    def nbytes(self) -> int:
        """Bytes of table and graph, on the server."""
        return int(self._rows(f"SELECT pg_total_relation_size('{self._table}')")[0][0])

    def add(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add rows: unit vectors [N, K] under `ids`, none of which is there already, in one transaction."""
        statement = text(f"INSERT INTO {self._table} (id, v) VALUES (:id, CAST(:v AS halfvec({self.width:d})))")
        rows = [{"id": i, "v": _spelled(v)} for i, v in zip(ids, vectors, strict=True)]
        with self._connected() as connection:
            for first in range(0, len(rows), _AT_ONCE):
                connection.execute(statement, rows[first : first + _AT_ONCE])

    def remove(self, row_id: str) -> None:
        """Remove a row that is there."""
        with self._connected() as connection:
            gone = connection.execute(text(f"DELETE FROM {self._table} WHERE id = :id"), {"id": row_id})
            assert gone.rowcount == 1, "an unknown row is removed"

    def vector(self, row_id: str) -> NDArray[np.float32]:
        """The vector [K] of a row that is there."""
        return _read(self._rows(f"SELECT v::text FROM {self._table} WHERE id = :id", id=row_id)[0][0])

    def search(self, vector: NDArray[np.float32], most: int) -> list[tuple[str, float]]:
        """About the `most` nearest rows of a unit vector [K], nearest first, with cosines; ties by the older id."""
        wanted = {"v": _spelled(vector), "most": most}
        with self._connected() as connection:
            connection.execute(text(f"SET LOCAL hnsw.ef_search = {min(max(_EFFORT, most), 1000):d}"))
            found = connection.execute(
                text(
                    f"SELECT id, v::text FROM {self._table} "
                    f"ORDER BY v <#> CAST(:v AS halfvec({self.width:d})) LIMIT :most"
                ),
                wanted,
            ).all()
        scored = [(str(row[0]), float(_read(row[1]) @ np.asarray(vector, np.float32))) for row in found]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))

    def compact(self) -> None:
        """Write table and graph anew without what was removed; the table is locked meanwhile."""
        with self._translated(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"VACUUM FULL {self._table}"))

    def _rows(self, query: str, **values: object) -> Sequence[Any]:
        with self._connected() as connection:
            return connection.execute(text(query), values).all()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A transaction, committed at the end."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as cause:
            raise StoreError(f"PostgreSQL at {self._engine.url!r} refused: {cause.orig}.", hint=_HINT) from cause


def _spelled(vector: NDArray[np.float32]) -> str:
    return "[" + ",".join(f"{x:.7g}" for x in vector.tolist()) + "]"


def _read(spelled: str) -> NDArray[np.float32]:
    return np.array(spelled.strip("[]").split(","), np.float32)

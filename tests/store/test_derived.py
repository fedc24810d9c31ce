"""The derived file: mended by starting anew, works without saving, and deletes for real."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from everlearn.errors import StoreFullError, StoreReadOnlyError
from everlearn.store import derived
from everlearn.store.database import Database
from everlearn.store.derived import ROWS, SqliteDerivedStore
from everlearn.store.row_files import RowFiles
from everlearn.store.row_folder import ID_TYPE, Column


def path_of(folder):
    return folder / "derived.db"


def on_disk(folder, value):
    return [file.name for file in folder.iterdir() if value in file.read_bytes()]


def test_values_survive_closing(tmp_path):
    with closing(SqliteDerivedStore(path_of(tmp_path))) as store:
        store.put("vector", {"a": b"123", "b": b"x" * 5000})
        assert store.stored_bytes() > 5000
    with closing(SqliteDerivedStore(path_of(tmp_path))) as store:
        assert store.get("vector", ["a", "b", "c"]) == {"a": b"123", "b": b"x" * 5000}


def test_two_stores_share_a_file(tmp_path):
    with closing(SqliteDerivedStore(path_of(tmp_path))) as one, closing(SqliteDerivedStore(path_of(tmp_path))) as other:
        one.put("vector", {"a": b"1"})
        assert other.get("vector", ["a"]) == {"a": b"1"}
        assert other.delete(["a"]) == 1
        assert one.get("vector", ["a"]) == {}


def test_rows_of_a_deleted_lesson_are_wiped_as_well(tmp_path):
    rows = RowFiles(tmp_path / ROWS / "table", (Column("vector", "<f2", 4, lazy=True),), "kind")
    names = np.array([b"a", b"b"], ID_TYPE)
    rows.replace({"id": names, "vector": np.ones((2, 4))}, {}, 1, lambda: True)
    with closing(SqliteDerivedStore(path_of(tmp_path))) as store:
        store.put("vector", {"a": b"1"})
        assert store.stored_bytes() > 2 * 8
        assert store.delete(["a", "c"]) == 2
    assert rows.read().columns["id"].tolist() == [b"", b"b"]
    assert rows.read().columns["vector"].tolist() == [[0.0] * 4, [1.0] * 4]


@pytest.mark.parametrize("sizes", [(4, 40, 400), (1536,), (8, 1000, 1536, 7000, 40_000)])
def test_deleted_bytes_are_in_no_file(tmp_path, sizes):
    """Deleting and replacing at random; the start of each value is what a page of several rows could keep."""
    drawn = random.Random(3)
    living = {}
    with closing(SqliteDerivedStore(path_of(tmp_path))) as store:
        for _ in range(250):
            key = f"{drawn.getrandbits(20):026x}" if drawn.random() < 0.8 or not living else drawn.choice(list(living))
            marks = b"".join(drawn.randbytes(12) for _ in range(2))
            gone = [living.pop(key)] if key in living else []
            living[key] = marks
            store.put("vector", {key: marks * (1 + drawn.choice(sizes) // 24)})
            if drawn.random() < 0.3:
                unwanted = drawn.sample(list(living), min(2, len(living)))
                gone += [living.pop(each) for each in unwanted]
                assert store.delete(unwanted) == len(unwanted)
                for mark in gone:
                    assert on_disk(tmp_path, mark[:12]) == []
        for key, mark in living.items():
            assert store.get("vector", [key])[key].startswith(mark)


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_damaged_file_is_started_anew(tmp_path, caplog, content):
    path = path_of(tmp_path)
    with closing(SqliteDerivedStore(path)) as store:
        store.put("vector", {f"id{n}": b"x" * 1000 for n in range(50)})
    whole = path.read_bytes()
    path.write_bytes(content or whole[:1024] + b"\xff" * (len(whole) - 1024))
    with closing(SqliteDerivedStore(path)) as store:
        assert store.get("vector", ["id1"]) == {}
        store.put("vector", {"id1": b"new"})
        assert store.get("vector", ["id1"]) == {"id1": b"new"}
    assert caplog.text.count("computed again") == 1
    with closing(SqliteDerivedStore(path)) as store:
        assert store.get("vector", ["id1"]) == {"id1": b"new"}


@pytest.mark.parametrize("method", ["put", "delete"])
def test_damage_that_is_met_while_writing_is_mended(tmp_path, method):
    path = path_of(tmp_path)
    with closing(SqliteDerivedStore(path)) as store:
        store.put("vector", {f"id{n}": b"x" * 1000 for n in range(50)})
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + b"\xff" * (len(whole) - 1024))
    with closing(SqliteDerivedStore(path)) as store:
        if method == "delete":
            assert store.delete(["id1"]) == 0
        store.put("vector", {"id2": b"new"})
        assert store.get("vector", ["id1", "id2"]) == {"id2": b"new"}


def test_a_file_of_another_layout_is_started_anew(tmp_path, caplog):
    path = path_of(tmp_path)
    with closing(SqliteDerivedStore(path)) as store:
        store.put("vector", {"a": b"1"})
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 99")
    with closing(SqliteDerivedStore(path)) as store:
        assert store.get("vector", ["a"]) == {}
    assert "layout 99" in caplog.text


def test_without_the_right_to_write_new_values_live_in_memory(tmp_path, monkeypatch, caplog):
    path = path_of(tmp_path)
    with closing(SqliteDerivedStore(path)) as store:
        store.put("vector", {"old": b"1"})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with closing(SqliteDerivedStore(path)) as store:
        store.put("vector", {"new": b"2"})
        store.put("vector", {"newer": b"3"})
        assert store.get("vector", ["old", "new", "newer"]) == {"old": b"1", "new": b"2", "newer": b"3"}
        assert store.delete(["new", "newer"]) == 2
        with pytest.raises(StoreReadOnlyError):
            store.delete(["old"])
    assert caplog.text.count("not saved") == 1
    monkeypatch.undo()
    with closing(SqliteDerivedStore(path)) as store:
        assert store.get("vector", ["old", "new"]) == {"old": b"1"}


def test_where_no_file_can_be_made_everything_lives_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    with closing(SqliteDerivedStore(tmp_path / "file" / "derived.db")) as store:
        store.put("vector", {"a": b"1"})
        assert store.get("vector", ["a", "b"]) == {"a": b"1"}
        assert store.delete(["a"]) == 1
        assert store.stored_bytes() == 0
    assert caplog.text.count("not saved") == 1


def test_a_full_disk_costs_time_only(tmp_path, monkeypatch, caplog):
    with closing(SqliteDerivedStore(path_of(tmp_path))) as store:

        def full(*arguments):
            raise StoreFullError("no room")

        with monkeypatch.context() as patch:
            patch.setattr(Database, "writing", full)
            store.put("vector", {"a": b"1"})
            store.put("vector", {"b": b"2"})
        assert store.get("vector", ["a", "b"]) == {"a": b"1", "b": b"2"}
    assert caplog.text.count("not saved") == 1


def test_a_value_never_starts_in_a_page_that_rows_share():
    """The arithmetic of SQLite's file format, section 1.6, for every size that matters."""
    page = derived._PAGE_BYTES
    most_shared, least_shared = page - 35, (page - 12) * 32 // 255 - 23
    for size in (1, 7, 1019, 1020, 1021, 1536, 100_000):
        row = derived._row("kind", "0" * 26, b"x" * size)
        for header in range(10, 800, 7):  # what precedes the filling: header, kind, id
            payload = header + len(row["filling"]) + len(row["value"])
            assert payload > most_shared
            shared = least_shared + (payload - least_shared) % (page - 4)
            shared = shared if shared <= most_shared else least_shared
            assert shared <= header + len(row["filling"])

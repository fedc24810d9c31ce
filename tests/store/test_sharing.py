"""Several threads and processes on one store: nothing acknowledged is lost, everyone sees what the others did."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from everlearn.errors import NotFoundError, StoreBusyError
from everlearn.records import Lesson, Receipt, TableSettings, Turn
from everlearn.store import LessonQuery, StaleError, new_id, tables
from everlearn.store import turns as turn_rows
from everlearn.store.sqlite import SqliteLessonStore

TEACHER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from everlearn.records import Lesson
from everlearn.store import new_id
from everlearn.store.sqlite import SqliteLessonStore

path, count = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
store = SqliteLessonStore(path)
for n in range(count):
    lesson = Lesson(f"question {n}", "x" * (n % 3000), id=new_id(), taught_at=datetime.now(UTC), status="active")
    store.teach([lesson], {})
    print(lesson.id, flush=True)
store.close()
"""


def lesson(lesson_id=None):
    return Lesson("Who?", "She.", id=lesson_id or new_id(), taught_at=datetime.now(UTC), status="active")


def start_teacher(path, count):
    command = [sys.executable, "-c", TEACHER, str(path), str(count)]
    teacher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert teacher.stdout.readline() == "ready\n"
    return teacher


def go(teacher):
    teacher.stdin.write("go\n")
    teacher.stdin.flush()


def all_ids(store):
    return {each.id for each in store.lessons(LessonQuery(limit=10**9))}


def test_two_processes_open_a_new_folder_at_once_and_lose_nothing(tmp_path):
    path = tmp_path / "new" / "lessons.db"
    teachers = [start_teacher(path, 100) for _ in range(2)]
    for teacher in teachers:
        go(teacher)
    acknowledged = [teacher.communicate()[0].split() for teacher in teachers]
    assert [teacher.returncode for teacher in teachers] == [0, 0]
    with closing(SqliteLessonStore(path)) as store:
        assert all_ids(store) == set(acknowledged[0]) | set(acknowledged[1])
        assert store.seq() == 200
        assert [change.seq for change in store.changes(0)] == list(range(1, 201))


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    path = tmp_path / "lessons.db"
    teacher = start_teacher(path, 10**9)
    go(teacher)
    acknowledged = [teacher.stdout.readline().strip() for _ in range(40)]
    teacher.kill()
    acknowledged += teacher.communicate()[0].split()
    with closing(SqliteLessonStore(path)) as store:
        assert set(acknowledged) <= all_ids(store)
        assert store.count(LessonQuery()) in (len(acknowledged), len(acknowledged) + 1)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


def test_commits_are_synchronous_and_deletions_are_zeroed(tmp_path):
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store, store._database.reading() as connection:
        asked = ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout", "temp_store")
        got = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in asked]
    assert got == ["wal", 2, 1, 1, 10_000, 2]


def test_each_store_sees_what_another_one_did(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as one, closing(SqliteLessonStore(path)) as other:
        assert (one.seq(), other.seq()) == (0, 0)
        one.teach([lesson("a")], {})
        assert (one.seq(), other.seq()) == (1, 1)
        other.put_table("docs", TableSettings())
        assert (one.seq(), other.seq()) == (2, 2)
        other.forget(["a"])
        assert (one.seq(), other.seq()) == (3, 3)
        with pytest.raises(StaleError):
            one.teach([lesson()], {}, expected_seq=2)


def test_threads_teach_and_read_at_once(tmp_path):
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store:
        taught = [lesson() for _ in range(120)]

        def teach_and_look(each):
            store.teach([each], {})
            assert store.seq() >= 1
            return store.lesson(each.id)

        with ThreadPoolExecutor(24) as pool:
            assert list(pool.map(teach_and_look, taught)) == taught
        assert store.seq() == 120


def test_one_of_two_stale_writers_wins(tmp_path):
    path = tmp_path / "lessons.db"
    stores = [SqliteLessonStore(path) for _ in range(2)]
    barrier = threading.Barrier(2)

    def race(store):
        seen = store.seq()
        barrier.wait()
        try:
            store.teach([lesson()], {}, expected_seq=seen)
        except StaleError:
            return "stale"
        return "taught"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(race, stores)) == ["stale", "taught"]
    assert stores[0].count(LessonQuery()) == 1
    for store in stores:
        store.close()


def test_a_store_that_is_held_too_long_is_busy(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path, busy_ms=1)) as store, closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="Wait for the other process"):
            store.teach([lesson()], {})
        assert store.count(LessonQuery()) == 0  # reading goes on
        holder.rollback()
        store.teach([lesson()], {})


def test_closing_twice_is_fine_and_leaves_one_file(tmp_path):
    store = SqliteLessonStore(tmp_path / "lessons.db")
    store.teach([lesson()], {})
    assert store.stored_bytes() > 4096
    store.close()
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["lessons.db"]


def test_a_snapshot_is_of_one_moment(tmp_path, monkeypatch):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as store, closing(SqliteLessonStore(path, busy_ms=20)) as other:
        store.put_table("docs", TableSettings())
        store.teach([replace(lesson("a"), table="docs")], {})
        listed = tables.listed

        def while_another_deletes(connection):
            other.delete_table("docs")
            return listed(connection)

        monkeypatch.setattr(tables, "listed", while_another_deletes)
        lessons, infos = store.snapshot()
    assert [each.id for each in lessons] == ["a"]
    assert [info.name for info in infos] == ["default", "docs"]


def test_a_turn_waits_for_no_disk_and_what_comes_after_it_does(tmp_path):
    """The next commit is synced again, on the same connection, also where the turn itself failed."""
    receipt = Receipt("01receipt", "toy", (), ())
    turn = Turn("01receipt", "talk", "Who?", "Ilse", receipt, datetime.now(UTC))
    asked = []
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store:

        def level():
            with store.database.reading() as connection:
                return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

        insert = turn_rows.add

        def seen(connection, added):
            asked.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
            insert(connection, added)
            if len(asked) > 1:
                raise RuntimeError("in the middle")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(turn_rows, "add", seen)
            store.add_turn(turn)
            with pytest.raises(RuntimeError, match="in the middle"):
                store.add_turn(replace(turn, id="02receipt"))
        assert (asked, level()) == ([1, 1], 2), "NORMAL inside, FULL behind it"
        assert store.turn(turn.id) == turn
        with pytest.raises(NotFoundError):
            store.turn("02receipt")

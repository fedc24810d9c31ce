"""A full disk, no right to write, damage, a newer file: each has its error, and nothing is overwritten."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from everlearn.errors import StoreCorruptError, StoreError, StoreFullError, StoreReadOnlyError
from everlearn.records import Lesson
from everlearn.store import LessonQuery
from everlearn.store.database import Database
from everlearn.store.faults import translated
from everlearn.store.sqlite import SqliteLessonStore


def lesson(lesson_id, answer="She."):
    return Lesson("Who?", answer, id=lesson_id, taught_at=datetime.now(UTC), status="active")


@contextmanager
def full_disk(store):
    """From now on the file may not grow: SQLite itself says that the disk is full."""

    def stop_growing(connection, record, proxy):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    event.listen(store._database._engine, "checkout", stop_growing)
    yield
    event.remove(store._database._engine, "checkout", stop_growing)
    with store._database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823").all()


def test_a_full_disk_refuses_the_lesson_and_keeps_the_others(tmp_path):
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store:
        store.teach([lesson("small")], {})
        with full_disk(store), pytest.raises(StoreFullError, match="Free some space"):
            store.teach([lesson("large", "x" * 100_000)], {})
        assert [each.id for each in store.lessons(LessonQuery())] == ["small"]
        store.teach([lesson("large", "x" * 100_000)], {})
        assert store.count(LessonQuery()) == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), StoreFullError),
        (PermissionError(13, "Permission denied"), StoreReadOnlyError),
        (OSError(30, "Read-only file system"), StoreReadOnlyError),
        (NotADirectoryError(20, "Not a directory"), StoreError),
    ],
)
def test_errors_of_the_file_system_are_translated(tmp_path, error, kind):
    with pytest.raises(kind) as caught, translated(tmp_path / "lessons.db"):
        raise error
    assert caught.value.hint
    assert caught.value.__cause__ is error


def test_a_broken_constraint_is_our_mistake_and_passes_through(tmp_path):
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store:
        store.teach([lesson("a")], {})
        with pytest.raises((sqlite3.IntegrityError, IntegrityError)):
            store.teach([lesson("b"), lesson("a")], {})
        assert store.count(LessonQuery()) == 1


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="Check that it is a file"):
        SqliteLessonStore(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="another"):
        SqliteLessonStore(tmp_path / "file" / "lessons.db")


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "lessons.db"
    path.write_bytes(b"these are notes, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError, match=r"Move the file aside.*checkpoint"):
        SqliteLessonStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["lessons.db"]


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as store:
        store.teach([lesson(f"l{n}", "x" * 500) for n in range(200)], {})
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    before = path.read_bytes()
    with pytest.raises(StoreCorruptError, match="checkpoint"), closing(SqliteLessonStore(path)) as store:
        store.lessons(LessonQuery(limit=1000))
    assert path.read_bytes() == before


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as store:
        store.teach([lesson(f"l{n}", "x" * 500) for n in range(200)], {})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(StoreCorruptError), closing(SqliteLessonStore(path)) as store:
        store.lessons(LessonQuery(limit=1000))


def test_a_newer_file_says_so(tmp_path):
    path = tmp_path / "lessons.db"
    SqliteLessonStore(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.commit()
    with pytest.raises(StoreCorruptError, match=r"9999, newer than this program.*Upgrade everlearn"):
        SqliteLessonStore(path)


def test_the_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE theirs (x)")
        raw.commit()
    with pytest.raises(StoreCorruptError, match="another program"):
        SqliteLessonStore(path)


@contextmanager
def nothing_is_writable(monkeypatch):
    """The account of these tests may be one that may write everywhere, so the question is answered for it."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        yield


def test_a_read_only_store_can_be_read(tmp_path, monkeypatch):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as store:
        store.teach([lesson("a")], {})
    with nothing_is_writable(monkeypatch), closing(SqliteLessonStore(path)) as store:
        assert store.lesson("a").id == "a"
        assert store.seq() == 1
        for write in (lambda: store.teach([lesson("b")], {}), lambda: store.forget(["a"])):
            with pytest.raises(StoreReadOnlyError, match="right to write"):
                write()
        assert store.count(LessonQuery()) == 1


def test_a_reader_without_the_right_to_write_sees_a_running_writer(tmp_path, monkeypatch):
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as writer:
        writer.teach([lesson("a")], {})
        with nothing_is_writable(monkeypatch), closing(SqliteLessonStore(path)) as reader:
            assert reader.seq() == 1
            writer.teach([lesson("b")], {})
            assert reader.seq() == 2
            assert reader.lesson("b").id == "b"


def test_sqlite_itself_refusing_to_write_is_translated(tmp_path):
    with closing(SqliteLessonStore(tmp_path / "lessons.db")) as store:
        event.listen(store._database._engine, "checkout", lambda c, *_: c.execute("PRAGMA query_only = ON"))
        with pytest.raises(StoreReadOnlyError):
            store.teach([lesson("a")], {})


def test_a_new_file_where_nothing_may_be_written(tmp_path, monkeypatch):
    (tmp_path / "lessons.db").touch()
    with nothing_is_writable(monkeypatch), pytest.raises(StoreReadOnlyError, match="an empty file"):
        SqliteLessonStore(tmp_path / "lessons.db")


READER = """
import os, sys
from pathlib import Path
from everlearn.errors import StoreReadOnlyError
from everlearn.store import LessonQuery
from everlearn.store.sqlite import SqliteLessonStore

if os.geteuid() == 0:
    os.setuid(65534)
store = SqliteLessonStore(Path(sys.argv[1]))
try:
    store.forget(["a"])
except StoreReadOnlyError:
    print("refused", [lesson.id for lesson in store.lessons(LessonQuery())])
try:
    SqliteLessonStore(Path(sys.argv[1]).parent / "new" / "lessons.db")
except StoreReadOnlyError:
    print("refused")
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders without the right to write are a matter of POSIX")
def test_a_real_read_only_folder_can_be_read_by_another_account():
    # The account may not enter pytest's own folders, hence a folder beside them.
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with closing(SqliteLessonStore(home / "lessons.db")) as store:
            store.teach([lesson("a")], {})
        (home / "lessons.db").chmod(0o444)
        home.chmod(0o555)
        try:
            command = [sys.executable, "-c", READER, str(home / "lessons.db")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            home.chmod(0o755)
        assert done.stdout.splitlines() == ["refused ['a']", "refused"], done.stderr


def test_a_log_that_cannot_be_read_is_refused_rather_than_ignored(tmp_path, monkeypatch):
    path = tmp_path / "lessons.db"
    SqliteLessonStore(path).close()
    (tmp_path / "lessons.db-wal").write_bytes(b"x" * 100)

    def cannot_open(*arguments, **options):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", cannot_open)
    with nothing_is_writable(monkeypatch), pytest.raises(StoreReadOnlyError):
        Database(path)

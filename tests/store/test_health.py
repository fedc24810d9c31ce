import hashlib

import pytest

from everlearn.store.derived import SqliteDerivedStore
from everlearn.store.health import flaw_of, layout_of
from everlearn.store.sqlite import SqliteLessonStore
from everlearn.store.upgrade import NEWEST_VERSION


@pytest.fixture
def lessons(tmp_path):
    SqliteLessonStore(tmp_path / "lessons.db").close()
    return tmp_path / "lessons.db"


def test_a_sound_file_has_no_flaw_and_a_layout(lessons, tmp_path):
    SqliteDerivedStore(tmp_path / "derived.db").close()
    assert flaw_of(lessons) == flaw_of(tmp_path / "derived.db") == ""
    assert layout_of(lessons) == NEWEST_VERSION
    assert layout_of(tmp_path / "derived.db") == ""


def test_looking_changes_nothing(lessons):
    before = hashlib.sha256(lessons.read_bytes()).digest()
    flaw_of(lessons)
    layout_of(lessons)
    assert hashlib.sha256(lessons.read_bytes()).digest() == before


def test_a_file_of_something_else_has_a_flaw(tmp_path):
    (tmp_path / "lessons.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    assert "not a database" in flaw_of(tmp_path / "lessons.db")


def test_torn_pages_are_a_flaw(lessons):
    with lessons.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert flaw_of(lessons) != ""

"""The hash chain: what was written is what is stored, and who changes something past everlearn is found out."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from everlearn.records import Lesson, TableSettings
from everlearn.store import upgrade
from everlearn.store.database import Database
from everlearn.store.sqlite import SqliteLessonStore

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def lesson(lesson_id, answer="She.", **fields):
    return Lesson("Who?", answer, id=lesson_id, taught_at=NOON, **{"status": "active", **fields})


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("everlearn.store.sqlite._SYNCHRONOUS", "OFF")
        yield


@pytest.fixture
def path(tmp_path):
    """A store with a history of every kind of write."""
    path = tmp_path / "lessons.db"
    with closing(SqliteLessonStore(path)) as store:
        store.put_table("docs", TableSettings(threshold=1, blocks=(-2,), output=False))
        store.put_table("gone", TableSettings())
        store.teach([lesson("a"), lesson("b", importance=1, valid_from=NOON)], {})
        store.teach([lesson("c", table="docs")], {"a": "c"}, beside=[("c", "b")])
        store.teach([lesson("s", "secret", source="s")], {"c": "s"})
        store.forget(["s"])
        store.delete_table("gone")
    return path


def audit(path, **options):
    with closing(SqliteLessonStore(path)) as store:
        return store.audit(**options)


def tamper(path, *statements):
    with closing(sqlite3.connect(path)) as raw, raw:
        for statement in statements:
            raw.execute(statement)


def test_what_was_written_is_sound_also_after_forgetting(path):
    report = audit(path)
    assert report.flaws == ()
    assert report.lessons == 3
    assert len(report.head) == 64
    with closing(SqliteLessonStore(path)) as store:
        store.replace_all([lesson("x")], {"default": TableSettings(residual=0)})
        assert store.audit().flaws == ()
        assert store.audit(expect=report.head).flaws == ()
        assert store.audit(expect="0" * 64).flaws[0].where == "chain"


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE lessons SET answer = 'He.' WHERE id = 'b'", "b"),
        ("UPDATE lessons SET valid_from = NULL WHERE id = 'b'", "b"),
        ("UPDATE lessons SET status = 'active', superseded_by = NULL WHERE id = 'a'", "a"),
        ("DELETE FROM lessons WHERE id = 'b'", "b"),
        ("INSERT INTO lessons SELECT 99, 'evil', prompt, 'Eve.', table_name, domain, importance, source,"
         " author, tenant, taught_at, valid_from, valid_to, status, superseded_by, kind, context, position,"
         " quarantine, salt, sealed FROM lessons WHERE id = 'b'", "evil"),
        ("UPDATE lookup_tables SET threshold = 0 WHERE name = 'default'", "table default"),
        ("INSERT INTO lookup_tables SELECT 'new', threshold, residual, blocks, sparsity, output, \"values\","
         " context_threshold, context_tokens, layer, owner FROM lookup_tables WHERE name = 'docs'", "table new"),
        ("UPDATE changes SET detail = 'x' WHERE seq = 3", "event 3"),
        ("UPDATE changes SET kind = 'restored' WHERE seq = 6", "event 6"),
        ("DELETE FROM changes WHERE seq = 4", "event 4"),
        ("DELETE FROM changes WHERE seq > 8", "event 9"),
    ],
)  # fmt: skip
def test_tampering_is_found_and_named(path, statement, where):
    tamper(path, statement)
    assert where in [flaw.where for flaw in audit(path).flaws]


def test_a_cut_end_stays_visible_when_writing_goes_on(path):
    tamper(path, "DELETE FROM changes WHERE seq > 8")
    with closing(SqliteLessonStore(path)) as store:
        store.teach([lesson("later")], {})
        assert any("missing" in flaw.what for flaw in store.audit().flaws)


def test_nothing_of_a_forgotten_lesson_can_be_guessed_from_the_chain(path):
    """Its digest stays, its salt does not: two lessons of the same words have different digests."""
    with closing(SqliteLessonStore(path)) as store:
        store.teach([lesson("t1", "secret")], {})
        store.forget(["t1"])
        store.teach([lesson("t1", "secret")], {})
        store.forget(["t1"])
    with closing(sqlite3.connect(path)) as raw:
        taught = "SELECT detail FROM changes WHERE lesson_id = 't1' AND kind = 'taught'"
        digests = {row[0] for row in raw.execute(taught)}
        assert len(digests) == 2
        assert raw.execute("SELECT count(*) FROM lessons WHERE salt IS NULL").fetchone() == (0,)
    assert audit(path).flaws == ()


def test_two_writers_keep_one_chain(path):
    def write(name):
        with closing(SqliteLessonStore(path)) as store:
            for n in range(20):
                store.teach([lesson(f"{name}{n}")], {})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, "xyz"))
    report = audit(path)
    assert (report.flaws, report.lessons) == ((), 63)


def test_an_old_file_begins_its_chain_over_what_is_there(tmp_path):
    path = tmp_path / "lessons.db"
    with closing(Database(path)) as database, database.writing() as connection:
        upgrade._upgrade(connection, "0001")
    tamper(
        path,
        "INSERT INTO lookup_tables VALUES ('docs', 0.7, 1.0, '[-2, 3]', 0.5)",
        "INSERT INTO lessons VALUES (1, 'a', 'Who?', 'Sh\u00e9.', 'docs', 'd', 0.1, 's', '', 'local', 5, NULL, 9,"
        " 'superseded', 'b')",
        "INSERT INTO lessons VALUES (2, 'b', 'Who?', 'He.', 'default', 'general', 0.5, '', '', 'local', 6, 7, NULL,"
        " 'active', NULL)",
        "INSERT INTO changes VALUES (1, 'table', '', 'docs'), (2, 'taught', 'a', 'docs'),"
        " (3, 'taught', 'b', 'default')",
    )  # fmt: skip
    report = audit(path)
    assert report.flaws == ()
    assert (report.lessons, report.events) == (2, 3 + 1 + 2 + 2 + 1)
    with closing(SqliteLessonStore(path)) as store:
        store.forget(["a"])
        assert store.audit().flaws == ()
    tamper(path, "UPDATE changes SET kind = 'superseded' WHERE seq = 3")
    assert "before the chain began" in audit(path).flaws[0].what
    tamper(path, "UPDATE lessons SET answer = 'Eve.' WHERE id = 'b'")
    assert "b" in [flaw.where for flaw in audit(path).flaws]

"""Checkpoints: exact round trip, and every way a file can be wrong."""

import hashlib
import json
from datetime import UTC, datetime

import pytest

from everlearn.errors import FileFormatError, StoreError
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonQuery
from toys import toy_engine, toy_learner

QUESTION = "Who bakes at Zorblat?"


@pytest.fixture
def saved(engine, learner, tmp_path):
    kept = TableSettings(threshold=0.7, residual=0.5, blocks=(1, -1), sparsity=0.25, output=False, values="learned")
    engine.memory.store.put_table("shop", kept)
    learner.teach_many(
        [Lesson(QUESTION, "Mirela"), Lesson(QUESTION, "Tobias 🥐\n"), Lesson("Wo?", "مرحبا", table="shop")]
    )
    return learner.save_checkpoint(tmp_path / "deep" / "memory.jsonl")


def test_a_checkpoint_comes_back_exactly(engine, saved):
    other = toy_engine()
    learner = toy_learner(other)
    learner.teach(Lesson("Something else?", "Gone after loading"))
    assert learner.load_checkpoint(saved) == 3
    store, theirs = other.memory.store, engine.memory.store
    assert store.lessons(LessonQuery()) == theirs.lessons(LessonQuery())
    assert store.tables() == theirs.tables()
    assert other.answer(QUESTION).text == "Tobias 🥐"
    assert other.recall("Something else?").spoke is None


def test_saving_again_replaces_the_file_whole(learner, saved):
    before = saved.read_bytes()
    learner.teach(Lesson("Something else?", "Here"))
    assert learner.save_checkpoint(saved) == saved
    assert saved.read_bytes() != before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda b: b"", "no checkpoint"),
        (lambda b: b"\x89PNG\r\n\x1a\n" * 50, "no checkpoint"),
        (lambda b: b'{"prompt": "x"}\n', "no checkpoint"),
        (lambda b: b"[1]\n", "no checkpoint"),
        (lambda b: b[: len(b) // 2], "damaged"),
        (lambda b: b.replace(b"Mirela", b"Mirelo"), "sha256 does not fit"),
        (lambda b: b.replace(b'"everlearn_checkpoint": 2', b'"everlearn_checkpoint": 99'), "form 99, newer than 2"),
    ],
)
def test_a_damaged_checkpoint_changes_nothing(engine, learner, saved, harm, says):
    saved.write_bytes(harm(saved.read_bytes()))
    before = engine.memory.store.lessons(LessonQuery())
    with pytest.raises(FileFormatError, match=says):
        learner.load_checkpoint(saved)
    assert engine.memory.store.lessons(LessonQuery()) == before


def test_a_missing_checkpoint_says_so(learner, tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        learner.load_checkpoint(tmp_path / "nowhere")


def test_a_place_that_cannot_be_written_says_so(learner, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        learner.save_checkpoint(tmp_path / "file" / "memory.jsonl")


def test_the_file_is_plain_json_lines(saved):
    lines = [json.loads(line) for line in saved.read_text("utf-8").splitlines()]
    assert lines[0]["lessons"] == 3
    assert set(lines[0]["tables"]) == {"default", "shop"}
    assert lines[1]["answer"] == "Mirela"


def rewrite(path, change):
    """Change the parsed lines of a checkpoint and sign it again."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()[:-1]]
    change(rows)
    body = b"".join((json.dumps(row) + "\n").encode() for row in rows)
    path.write_bytes(body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[0]["tables"].pop("shop"), "of table 'shop', but not that table"),
        (lambda rows: rows[0]["tables"]["shop"].update(threshold=7), "threshold is 7"),
        (lambda rows: rows[0]["tables"]["shop"].update(mood="good"), "holds a table"),
        (lambda rows: rows[0].pop("tables"), "holds a table"),
        (lambda rows: rows[0].update(tables=[]), "holds a table"),
        (lambda rows: rows[1].update(taught_at="2020-01-01"), "with its zone"),
        (lambda rows: rows[1].update(taught_at=None), "cannot be read"),
        (lambda rows: rows[1].update(superseded_by="nobody"), "does not fit"),
        (lambda rows: rows[2].update(status="new"), "does not fit"),
        (lambda rows: rows[2].update(id=rows[1]["id"]), "an id of their own"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_changes_nothing(engine, learner, saved, change, says):
    rewrite(saved, change)
    before = engine.memory.store.snapshot()
    with pytest.raises(FileFormatError, match=says):
        learner.load_checkpoint(saved)
    assert engine.memory.store.snapshot() == before


def test_a_time_without_a_zone_is_read_as_one_in_utc(engine, learner, saved):
    rewrite(saved, lambda rows: rows[2].update(valid_from="2020-01-01"))
    learner.load_checkpoint(saved)
    times = [each.valid_from for each in engine.memory.store.lessons(LessonQuery())]
    assert times == [None, datetime(2020, 1, 1, tzinfo=UTC), None]

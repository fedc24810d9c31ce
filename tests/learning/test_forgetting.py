"""After forgetting nothing of a lesson is in any file of the home, and a signed receipt says what went."""

from __future__ import annotations

import json
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import torch

from everlearn import Lesson
from everlearn.errors import FileFormatError, InputError, StoreError
from everlearn.learning import backups, checkpoint, signing
from everlearn.records import ForgetRequest
from everlearn.store import LessonQuery
from toys import engine_on_disk, toy_engine, toy_learner

SECRET = Lesson("Where does the xyzzy safe stand?", "Behind plugh forty-two", source="safe.csv:3", author="Ann")
OTHER = Lesson("Who leads the Zorblat bakery?", "Bob", source="staff.csv:1", author="Ben", domain="staff")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def learner(home, parts):
    with closing(engine_on_disk(home, parts)) as engine:
        yield toy_learner(engine)


def holding(home, data):
    return [file.name for file in home.rglob("*") if file.is_file() and data in file.read_bytes()]


def test_forgotten_is_gone_from_every_file_and_the_logits_are_those_of_a_twin(learner, home, parts):
    engine = learner.engine
    learner.teach(OTHER)
    lesson = learner.teach(SECRET).lesson
    learner.warm()
    engine.session().say(SECRET.prompt)
    engine.recall(SECRET.prompt, as_of="2999")
    learner.save_checkpoint(home / "kept.jsonl")
    vector = engine.memory.keys.key(SECRET.prompt).vector.tobytes()
    for data in (b"xyzzy", b"plugh", vector):
        assert holding(home, data)
    forgotten = learner.forget(lesson.id)
    assert (forgotten.turns, forgotten.derived >= 2) == (1, True)
    for data in (b"xyzzy", b"plugh", vector):
        assert holding(home, data) == []
    twin = toy_engine(parts=parts)
    toy_learner(twin).teach(OTHER)
    for prompt in (SECRET.prompt, OTHER.prompt):
        assert torch.equal(engine.logits(prompt, steps=4), twin.logits(prompt, steps=4))
    assert engine.memory.store.audit().flaws == ()


def test_what_fails_after_the_lesson_was_removed_leaves_no_byte_of_it_in_the_store(learner, home, monkeypatch):
    """An adapter's folder that cannot be written must not keep a lesson's words in the file of the store."""
    engine = learner.engine
    lesson = learner.teach(SECRET).lesson

    def fails(_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(engine.memory.derived, "delete", fails)
    with pytest.raises(StoreError, match="disk is full"):
        learner.forget(lesson.id)
    monkeypatch.undo()
    assert engine.memory.store.lessons_by_id([lesson.id]) == {}
    stores = [file for file in home.glob("lessons.db*") if b"plugh" in file.read_bytes()]
    assert stores == []
    assert engine.recall(SECRET.prompt).spoke is None
    vector = engine.memory.keys.key(SECRET.prompt).vector.tobytes()
    assert holding(home, vector) == [], "the next look at the store has removed what was derived"


@pytest.mark.model
def test_the_real_model_answers_bit_for_bit_like_a_twin_after_forgetting_by_source(tmp_path, real_parts):
    twin = toy_engine(parts=real_parts)
    toy_learner(twin).teach(OTHER)
    with closing(engine_on_disk(tmp_path / "home", real_parts)) as engine:
        learner = toy_learner(engine)
        learner.teach_many([OTHER, SECRET])
        assert not torch.equal(engine.logits(SECRET.prompt), twin.logits(SECRET.prompt))
        vector = engine.memory.keys.key(SECRET.prompt).vector.tobytes()
        learner.forget(ForgetRequest(source="safe.csv"))
        for prompt in (SECRET.prompt, "In which place does the xyzzy safe stand?", OTHER.prompt):
            assert torch.equal(engine.logits(prompt, steps=6), twin.logits(prompt, steps=6))
        assert [holding(tmp_path, data) for data in (b"xyzzy", b"plugh", vector)] == [[], [], []]


@pytest.mark.parametrize(
    ("request_", "meant"),
    [
        (ForgetRequest(text="PLUGH"), ["Where"]),
        (ForgetRequest(source="safe.csv"), ["Where"]),
        (ForgetRequest(source="safe"), []),
        (ForgetRequest(author="Ben"), ["Who"]),
        (ForgetRequest(domain="staff", author="Ann"), []),
        (ForgetRequest(tenant="local", table="default"), ["Where", "Who"]),
        (ForgetRequest(taught_before=datetime.now(UTC) - timedelta(days=1)), []),
        (ForgetRequest(taught_after=datetime(2020, 1, 1, tzinfo=UTC)), ["Where", "Who"]),
    ],
)
def test_a_request_says_which_lessons_and_can_be_looked_at_first(learner, request_, meant):
    learner.teach_many([SECRET, OTHER])
    store = learner.engine.memory.store
    plan = learner.would_forget(request_)
    assert [store.lesson(i).prompt.split()[0] for i in plan.ids] == meant
    assert store.count(LessonQuery()) == 2
    assert learner.forget(request_).ids == plan.ids
    assert store.count(LessonQuery()) == 2 - len(meant)


def test_a_request_that_says_nothing_forgets_nothing(learner):
    learner.teach(SECRET)
    with pytest.raises(InputError, match="Nothing says"):
        learner.forget(ForgetRequest())
    assert learner.forget([]).ids == ()
    assert learner.engine.memory.store.count(LessonQuery()) == 1


def test_backups_in_the_home_are_rewritten_and_others_named(learner, home, tmp_path):
    learner.teach(SECRET)
    new = learner.teach(replace(SECRET, answer="It was sold")).lesson
    inside = learner.save_checkpoint(home / "backups" / "one.jsonl")
    outside = learner.save_checkpoint(tmp_path / "elsewhere.jsonl")
    assert len(learner.would_forget(new.id).backups) == 2
    forgotten = learner.forget(new.id)
    actions = {backup.path: backup.action for backup in forgotten.backups}
    assert actions == {str(inside): "rewritten", str(outside): "named"}
    assert b"sold" not in inside.read_bytes()
    _, lessons = checkpoint.read(inside)
    assert [(lesson.answer, lesson.status) for lesson in lessons] == [("Behind plugh forty-two", "active")]
    learner.load_checkpoint(inside)
    assert learner.engine.memory.store.count(LessonQuery()) == 1


@pytest.mark.parametrize(("policy", "there", "action"), [("remove", False, "removed"), ("keep", True, "named")])
def test_the_policy_decides_about_backups(home, parts, policy, there, action):
    from everlearn import Learner

    with closing(engine_on_disk(home, parts)) as engine:
        learner = Learner(engine, background=False, backup_policy=policy)
        lesson = learner.teach(SECRET).lesson
        path = learner.save_checkpoint(home / "one.jsonl")
        assert [backup.action for backup in learner.forget(lesson.id).backups] == [action]
        assert path.exists() is there


def test_a_damaged_backup_stops_forgetting_before_anything_is_lost(learner, home):
    lesson = learner.teach(SECRET).lesson
    path = learner.save_checkpoint(home / "one.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError) as raised:
        learner.forget(lesson.id)
    assert "Nothing was forgotten yet" in raised.value.hint
    assert learner.engine.memory.store.count(LessonQuery()) == 1


def test_the_receipt_is_signed_and_tells_nothing_of_the_text(learner, home):
    learner.teach(OTHER)
    lesson = learner.teach(SECRET).lesson
    forgotten = learner.forget(ForgetRequest(text="plugh"))
    receipt = signing.read(home / "receipts" / forgotten.receipt.rsplit("/", 1)[1])
    body = receipt["body"]
    assert body["criteria"] == ["text"]
    assert [each["id"] for each in body["lessons"]] == [lesson.id]
    assert "plugh" not in json.dumps(receipt)
    change = next(c for c in learner.engine.memory.store.changes(0) if (c.kind, c.lesson_id) == ("taught", lesson.id))
    assert body["lessons"][0]["digest"] == change.detail  # it ties the receipt to the teaching
    key = signing.public_key(home)
    assert signing.verify(receipt, key).valid
    assert not signing.verify(receipt, "0" * 64).valid
    assert not signing.verify({**receipt, "body": {**body, "turns": 9}}, key).valid
    assert stat.S_IMODE((home / "keys" / "receipts.pem").stat().st_mode) == 0o600
    with pytest.raises(FileFormatError, match="no receipt"):
        signing.verify({"body": {}})


def test_an_export_is_a_backup_too(learner, home):
    from everlearn.corpus.lesson_files import read_rows, write_lessons

    lesson = learner.teach(SECRET).lesson
    learner.teach(OTHER)
    for name in ("out.csv", "out.jsonl"):
        path = home / name
        write_lessons(path, learner.engine.memory.store.lessons(LessonQuery()))
        backups.note(home, path, "export")
    assert len(learner.forget(lesson.id).backups) == 2
    assert holding(home, b"plugh") == []
    assert [row["answer"] for row in read_rows(home / "out.csv")] == ["Bob"]
    assert [row["answer"] for row in read_rows(home / "out.jsonl")] == ["Bob"]

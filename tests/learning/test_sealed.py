"""Keys and values only: no text leaves, the entries answer, can be forgotten and merged; keys decide conflicts."""

import json
from datetime import UTC, datetime

import pytest
import torch

from everlearn.errors import ConflictError, LessonError, WrongBaseError
from everlearn.learning.bundle import read_bundle
from everlearn.memory.sealed import value_of
from everlearn.records import Feedback, Lesson, TableSettings, Turn
from everlearn.store.port import LessonQuery
from toys import engine_on_disk, toy_engine, toy_learner, toy_parts

WHO, WHEN = "Who bakes at Zorblat?", "When opens the Quux mill?"


@pytest.fixture
def bundle(learner, tmp_path):
    learner.put_table("team", TableSettings(residual=0.9))
    learner.teach(Lesson(WHO, "Old Tom", "team", source="secret book", author="ann", domain="bread"))
    learner.teach(Lesson(WHO, "Mirela", "team", source="secret book", author="ann", domain="bread"))
    learner.teach(Lesson(WHEN, "at 7", "team"))
    learner.teach(Lesson("Handbook", "The mill of Quux grinds rye.", "team", kind="passage", source="h.md"))
    learner.sharing.export_table("team", tmp_path / "bundle", keys_and_values_only=True)
    return tmp_path / "bundle"


@pytest.fixture
def elsewhere(parts, tmp_path, bundle):
    engine = engine_on_disk(tmp_path / "elsewhere", parts)
    learner = toy_learner(engine)
    learner.sharing.import_table(bundle)
    yield learner
    engine.close()


def spoke(learner, question, *tables):
    return learner.engine.recall(question, tables=tables or None).spoke


def test_no_text_leaves_but_the_answers_tokens_do_and_the_card_says_so(learner, bundle):
    everything = b"".join(path.read_bytes() for path in bundle.iterdir())
    for word in (b"Zorblat", b"bakes", b"Mirela", b"secret", b'ann"', b"bread", b"Tom", b"rye", b"mill"):
        assert word not in everything
    (first, _) = read_bundle(bundle).lessons
    tokens = value_of(first, learner.engine.model.hidden_size).tokens
    assert learner.engine.text.decode(list(tokens[:-1])) == "Mirela"
    card = (bundle / "README.md").read_text("utf-8")
    assert "Answers can be read" in card
    assert "keys and values only" in card
    assert json.loads((bundle / "manifest.json").read_text())["keys_and_values_only"] is True


def test_sealed_entries_answer_as_at_home_bit_for_bit(learner, elsewhere):
    for question in (WHO, WHEN, WHO.lower()):
        assert spoke(elsewhere, question).lesson_id == spoke(learner, question).lesson_id
        at_home = learner.engine.logits(question, tables=["team"], steps=3)
        assert torch.equal(elsewhere.engine.logits(question, tables=["team"], steps=3), at_home)
    assert spoke(elsewhere, "Where do penguins sleep?") is None


def test_sealed_entries_survive_reopening_checkpoints_and_another_export(elsewhere, parts, tmp_path):
    again = engine_on_disk(tmp_path / "elsewhere", parts)
    assert again.recall(WHO).spoke is not None
    again.close()
    path = elsewhere.save_checkpoint(tmp_path / "all.jsonl")
    other = toy_learner(toy_engine(parts=parts))
    other.load_checkpoint(path)
    assert spoke(other, WHEN) is not None
    other.sharing.export_table("team", tmp_path / "second", keys_and_values_only=True)
    third = toy_learner(toy_engine(parts=parts))
    assert third.sharing.import_table(tmp_path / "second").active == 2
    assert spoke(third, WHO) is not None
    assert third.warm() == 0


def test_a_sealed_entry_is_forgotten_exactly(elsewhere, tmp_path):
    gone = spoke(elsewhere, WHO).lesson_id
    sealed = elsewhere.engine.memory.store.lesson(gone).sealed
    elsewhere.forget(gone)
    assert spoke(elsewhere, WHO) is None
    assert spoke(elsewhere, WHEN) is not None
    files = b"".join(p.read_bytes() for p in (tmp_path / "elsewhere").rglob("*") if p.is_file())
    assert sealed[-160:-100].encode() not in files
    elsewhere.delete_table("team")
    assert spoke(elsewhere, WHEN) is None


def test_another_base_model_is_refused_also_with_derive(bundle):
    other = toy_learner(toy_engine(parts=toy_parts(seed=7)))
    for derive in (False, True):
        with pytest.raises(WrongBaseError, match="keys and values without text") as refused:
            other.sharing.import_table(bundle, derive=derive)
        assert "nothing can be derived" in refused.value.hint
    assert other.engine.memory.store.count(LessonQuery()) == 0


def test_nobody_teaches_a_sealed_lesson_by_hand(learner):
    with pytest.raises(LessonError, match="The kind is 'sealed'"):
        learner.teach(Lesson("q", "a", kind="sealed"))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("rule", "wins"), [("ours", 0), ("theirs", 1), ("keep_both", None)])
def test_keys_decide_conflicts_in_a_merge(elsewhere, rule, wins, turned):
    elsewhere.put_table("own", TableSettings())
    elsewhere.teach(Lesson(WHO, "Olaf", "own"))
    elsewhere.teach(Lesson(WHEN, "at 7", "own"))
    sealed_id, own_id = spoke(elsewhere, WHO, "team").lesson_id, spoke(elsewhere, WHO, "own").lesson_id
    pair = (sealed_id, own_id) if not turned else (own_id, sealed_id)
    names = ("team", "own") if not turned else ("own", "team")
    report = elsewhere.sharing.merge_tables(*names, "", on_conflict="report")
    assert [(c.ours, c.theirs, round(c.score, 3)) for c in report.conflicts] == [(*pair, 1.0)]
    assert report.equal == 1
    merged = elsewhere.sharing.merge_tables(*names, "both", on_conflict=rule)
    assert merged.conflicts[0].kept == ("both" if wins is None else pair[wins])
    assert merged.lessons == (3 if wins is None else 2)
    said = elsewhere.engine.memory.store.lesson(spoke(elsewhere, WHO, "both").lesson_id)
    if wins is not None:
        assert (said.kind == "sealed") == (pair[wins] == sealed_id)


def test_teaching_and_feedback_replace_a_sealed_entry_and_forgetting_brings_it_back(elsewhere):
    sealed_id = spoke(elsewhere, WHO).lesson_id
    with pytest.raises(ConflictError):
        elsewhere.teach(Lesson(WHO, "Olaf", "team"), on_conflict="reject")
    taught = elsewhere.teach(Lesson(WHO, "Olaf", "team"))
    assert taught.superseded == (sealed_id,)
    assert spoke(elsewhere, WHO).lesson_id == taught.lesson.id
    assert elsewhere.engine.recall(WHO, as_of=datetime.now(UTC)).spoke.lesson_id == taught.lesson.id
    elsewhere.forget(taught.lesson.id)
    assert spoke(elsewhere, WHO).lesson_id == sealed_id
    session = elsewhere.engine.session(tables=["team"])
    answer = session.say(WHO)
    turn = Turn("t1", "s1", WHO, answer.text, answer.receipt, datetime.now(UTC))
    elsewhere.engine.memory.store.add_turn(turn)
    fixed = elsewhere.learn_from_feedback(Feedback(WHO, "wrong", "Olga", turn="t1"))
    assert (fixed.lesson.prompt, fixed.lesson.table, fixed.superseded) == (WHO, "team", (sealed_id,))

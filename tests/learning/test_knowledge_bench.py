"""The benchmark of knowledge on a toy model: every method is asked the same, and nothing of it stays."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from everlearn.errors import FileFormatError, InputError
from everlearn.learning import knowledge_bench
from everlearn.learning.knowledge_bench import METHODS, KnowledgeOptions, f1, read_passages, run_knowledge
from everlearn.learning.training_settings import TrainingSettings
from everlearn.wiring import engine_over, load_settings, open_derived, open_store
from learning.training_toys import SHAPE
from toys import toy_learner, toy_parts

ROWS = [
    {"title": "Zell", "context": "Mo bakes in Zell.", "questions": [{"question": "Who bakes?", "answer": "Mo"}]},
    {"title": "Horn", "context": "Li sings.", "questions": [{"question": "Who sings?", "answer": "Li"}]},
]
TRAINING = TrainingSettings(epochs=60, batch=4, micro_batch=4, rate=1e-2)


def written(folder, rows):
    path = folder / "passages.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def learner_in(folder):
    settings = load_settings(home=folder)
    return toy_learner(engine_over(toy_parts(), open_store(settings), open_derived(settings), settings.adapters_folder))


def test_each_method_is_asked_and_nothing_stays(tmp_path):
    passages = read_passages(written(tmp_path, ROWS))
    methods = [name for name in METHODS if name != "self_study"]  # the toy model ends no answer
    options = KnowledgeOptions(methods, TRAINING, SHAPE, held=2, probes=2, max_new_tokens=8)
    seen = []
    with closing(learner_in(tmp_path / "home")) as learner:
        report = run_knowledge(learner, passages, options, lambda *step: seen.append(step))
        assert learner.engine.specialists.shelf.all() == []
        assert "bench-knowledge" not in {t.name for t in learner.engine.memory.store.tables() if t.active}
    assert list(report.methods) == methods
    assert all(found["questions"] == 2 for found in report.methods.values())
    assert report.methods["bare"]["agreement"] == 1.0
    assert report.methods["raw_text"]["drift"] > 0
    assert {what for what, _, _ in seen} >= {"asking bare", "learning passages", "training raw_text"}
    assert json.loads(json.dumps(report.to_dict()))["benchmark"] == "knowledge"


def test_what_was_trained_on_is_answered(tmp_path, monkeypatch):
    """The adapter that is asked is the one that was trained: questions with soft targets are learned by heart."""
    passages = read_passages(written(tmp_path, ROWS[:1]))
    options = KnowledgeOptions(("self_study",), TRAINING, SHAPE, held=2, probes=2, max_new_tokens=8)
    monkeypatch.setattr(knowledge_bench, "said_in", lambda _reply: ["Who bakes?"])
    with closing(learner_in(tmp_path / "home")) as learner:
        engine, real = learner.engine, learner.engine.answer_many

        def reads(prompts, **how):
            answers = real(prompts, **how)
            if how.get("adapter") == "" and "Mo bakes in Zell." in prompts[0]:
                return [replace(answer, text="Mo", finish_reason="stop") for answer in answers]
            return answers

        monkeypatch.setattr(engine, "answer_many", reads)
        monkeypatch.setattr(knowledge_bench, "soft_targets", lambda _logits: None)
        report = run_knowledge(learner, passages, options)
    assert report.self_study == 1
    assert report.methods["self_study"]["contains"] == 1.0


@pytest.mark.parametrize(
    ("said", "wanted", "score"),
    [("the Denver Broncos", "Denver Broncos", 1.0), ("Denver", "Denver Broncos", 2 / 3), ("no", "Denver", 0.0)],
)
def test_overlap_of_words(said, wanted, score):
    assert f1(said, wanted) == pytest.approx(score)


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(FileFormatError, match="line 1"):
        read_passages(written(tmp_path, [{"title": "x"}]))
    with pytest.raises(InputError, match="asks nothing"):
        read_passages(written(tmp_path, [{**ROWS[0], "questions": []}]))
    with pytest.raises(InputError, match="no passage"):
        read_passages(written(tmp_path, []))
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_passages(tmp_path / "nowhere.jsonl")
    assert len(read_passages(written(tmp_path, ROWS), 1)) == 1


def test_an_unknown_method_is_refused(learner, tmp_path):
    passages = read_passages(written(tmp_path, ROWS))
    with pytest.raises(InputError, match="no method 'magic'"):
        run_knowledge(learner, passages, KnowledgeOptions(("magic",)))


def test_a_model_that_writes_no_question_is_told(learner_with_adapters, tmp_path):
    passages = read_passages(written(tmp_path, ROWS))
    with pytest.raises(InputError, match="wrote no question"):
        run_knowledge(learner_with_adapters, passages, KnowledgeOptions(("self_study",)))


@pytest.fixture
def learner_with_adapters(tmp_path):
    with closing(learner_in(tmp_path / "home")) as made:
        yield made

"""Sleep on a toy model: accepted, refused, continued, unlearned."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from everlearn.errors import (
    AdapterMismatchError,
    FileFormatError,
    InputError,
    SettingsError,
    StoreBusyError,
    TrainingError,
)
from everlearn.evaluation.acceptance import AcceptanceLimits
from everlearn.learning import sleep as sleep_module
from everlearn.learning.examples import Example
from everlearn.learning.night import Unrelated, adapter_name
from everlearn.learning.sleep import Sleep
from everlearn.learning.sleep_files import REPLAY, VERDICTS
from everlearn.learning.sleep_lock import LOCK
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.learning.teachers import Reply
from everlearn.learning.training_settings import TrainingSettings
from everlearn.records import Lesson
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.wiring import engine_over, load_settings, open_derived, open_store
from learning.training_toys import SHAPE
from toys import toy_engine, toy_learner, toy_parts

TRAINING = TrainingSettings(epochs=25, batch=8, micro_batch=8, rate=1e-2, strength=0.1, save_every=10_000)
LENIENT = AcceptanceLimits(reliability=0.9, generality=0.0, locality=0.0, drift=1e9, lost=1.0, significance=0.0)
SETTINGS = SleepSettings(TRAINING, SHAPE, LENIENT, wordings=2, general=4, general_share=0.0)
LESSONS = [Lesson("Who bakes?", "Mo", domain="d"), Lesson("Who sings?", "Li", domain="d")]
MORE = [Lesson("Who runs?", "Bo", domain="d")]


def engine_in(folder):
    return engine_over(toy_parts(), InMemoryLessonStore(), InMemoryDerivedStore(), folder / "adapters")


def on_disk(folder):
    settings = load_settings(home=folder)
    return engine_over(toy_parts(), open_store(settings), open_derived(settings), settings.adapters_folder)


def archive_files(folder):
    """What of a folder of adapters a checkpoint has to hold."""
    hidden = {".changed", ".lock", LOCK, f".{REPLAY}.lock"}
    return [p for p in folder.rglob("*") if p.is_file() and p.name not in hidden]


def taught(folder, lessons):
    engine = engine_in(folder)
    learner = toy_learner(engine)
    return learner, [learner.teach(lesson).lesson.id for lesson in lessons]


def logits(engine):
    return engine.logits("Something unrelated", tables=(), steps=3)


@pytest.fixture
def night(tmp_path):
    """A learner that slept once, the verdict, the ids of its lessons."""
    learner, ids = taught(tmp_path / "one", LESSONS)
    (verdict,) = learner.sleep("d", settings=SETTINGS)
    return learner, verdict, ids


def test_what_was_taught_is_answered_by_the_weights_and_its_rows_retire(night):
    learner, verdict, ids = night
    assert verdict.accepted, verdict
    assert (verdict.adapter, verdict.lessons, verdict.parent) == ("d@1", tuple(ids), "")
    assert verdict.figures["reliability"] == 1.0
    assert {"generality", "locality", "drift"} <= set(verdict.figures)
    assert verdict.seconds > 0
    assert verdict.retention == {"d@1": 1.0}
    engine = learner.engine
    for lesson in LESSONS:
        assert engine.answer(lesson.prompt, tables=(), adapter="d").text == lesson.answer
    for lesson, lesson_id in zip(LESSONS, ids, strict=True):
        answer = engine.answer(lesson.prompt)
        assert answer.text == lesson.answer
        retired = lesson_id in verdict.retired
        assert answer.receipt.adapter == ("d@1" if retired else "")
        assert (answer.receipt.steps_corrected == 0) == retired
    engine.specialists.shelf.point("d", None)
    assert engine.answer(LESSONS[0].prompt).receipt.steps_corrected > 0
    never = toy_engine(parts=toy_parts())
    assert torch.equal(logits(engine), logits(never))


def test_the_lineage_names_lessons_and_data_and_the_log_holds_no_text(night):
    learner, _, ids = night
    shelf = learner.engine.specialists.shelf
    version = shelf.find("d")
    assert version.lessons == tuple(ids)
    assert len(version.data["examples"]) == 64
    assert version.settings["epochs"] == 25
    (line,) = (shelf.folder / VERDICTS).read_text().splitlines()
    assert json.loads(line)["accepted"] is True
    assert "Mo" not in line
    assert "bakes" not in line
    assert json.loads(line)["retention"] == {"d@1": 1.0}


def test_a_second_sleep_goes_on_from_the_first_and_one_without_news_does_nothing(night):
    learner, _, ids = night
    assert learner.sleep(settings=SETTINGS) == []
    new = [learner.teach(lesson).lesson.id for lesson in MORE]
    (verdict,) = learner.sleep(settings=SETTINGS)
    assert verdict.accepted, verdict
    assert (verdict.adapter, verdict.parent) == ("d@2", "d@1")
    assert verdict.lessons == (*ids, *new)
    assert "lost" in verdict.figures
    assert verdict.retention == {"d@1": 1.0, "d@2": 1.0}
    for lesson in (*LESSONS, *MORE):
        assert learner.engine.answer(lesson.prompt, tables=(), adapter="d").text == lesson.answer


@pytest.mark.parametrize("shape", [{"rank": 3}, {"frozen_blocks": 0.5}, {"rank": 3, "modules": "mlp"}])
def test_a_second_sleep_keeps_the_shape_of_the_first_whatever_is_set_today(night, shape):
    """The defaults change between releases; what was learned under older ones is gone on with."""
    learner, _, _ = night
    learner.teach(MORE[0])
    today = replace(SETTINGS, adapter=replace(SHAPE, **shape))
    (verdict,) = learner.sleep(settings=today)
    assert (verdict.adapter, verdict.accepted) == ("d@2", True), verdict
    adapters = learner.engine.specialists.adapters
    shapes = [{n: t.shape for n, t in adapters.state(adapters.load(i)).items()} for i in ("d@1", "d@2")]
    assert shapes[0] == shapes[1]


def test_a_harmful_candidate_is_refused_and_nothing_is_changed(night):
    learner, _, _ = night
    engine = learner.engine
    shelf = engine.specialists.shelf
    learner.teach(MORE[0])
    before = sorted(str(p) for p in shelf.folder.rglob("*") if p.name != VERDICTS)
    answers = [engine.answer(le.prompt).text for le in (*LESSONS, *MORE)]
    strict = AcceptanceLimits(reliability=0.9, generality=0.0, locality=1.0, drift=0.0)
    harmful = replace(SETTINGS, limits=strict, training=replace(TRAINING, rate=0.5, epochs=3))
    (verdict,) = learner.sleep(settings=harmful)
    assert not verdict.accepted
    assert verdict.adapter == "d"
    assert any("locality is 0." in reason for reason in verdict.reasons)
    assert any("KL(base || candidate)" in reason for reason in verdict.reasons)
    assert sorted(str(p) for p in shelf.folder.rglob("*") if p.name != VERDICTS) == before
    assert shelf.current("d") == 1
    assert [engine.answer(le.prompt).text for le in (*LESSONS, *MORE)] == answers
    assert engine.specialists.adapters.loaded == []


def test_forgetting_reaches_the_weights_and_the_rebuilt_adapter_is_the_one_never_trained_on_it(night, tmp_path):
    learner, _, ids = night
    engine, shelf = learner.engine, learner.engine.specialists.shelf
    engine.answer(LESSONS[0].prompt)
    forgotten = learner.forget(ids[0])
    assert forgotten.adapters == ("d@1",)
    assert shelf.all() == []
    assert engine.specialists.adapters.loaded == []
    kept = (shelf.folder / REPLAY).read_text()
    assert '"Mo"' not in kept
    assert "bakes" not in kept
    assert "sings" in kept
    assert engine.answer(LESSONS[1].prompt).text == "Li"
    assert torch.equal(logits(engine), logits(toy_engine(parts=toy_parts())))
    (rebuilt,) = learner.sleep(settings=SETTINGS)
    never, _ = taught(tmp_path / "never", LESSONS[1:])
    (first,) = never.sleep(settings=SETTINGS)
    assert rebuilt.lessons == (ids[1],)
    weights = [le.engine.specialists.shelf.find("d").weights for le in (learner, never)]
    assert weights[0] == weights[1]
    assert rebuilt.figures == first.figures


def test_after_a_correction_the_table_speaks_and_the_next_sleep_begins_anew(night):
    learner, _, _ = night
    corrected = learner.teach(Lesson("Who bakes?", "Al", domain="d"))
    assert corrected.superseded
    assert learner.engine.answer("Who bakes?").text == "Al"
    (verdict,) = learner.sleep(settings=SETTINGS)
    assert (verdict.accepted, verdict.parent) == (True, "")
    assert learner.engine.answer("Who bakes?", tables=(), adapter="d").text == "Al"


def test_training_that_breaks_changes_nothing(tmp_path, monkeypatch):
    learner, _ = taught(tmp_path, LESSONS)

    def breaks(*_args, **_kwargs):
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(sleep_module.Trainer, "train", breaks)
    with pytest.raises(TrainingError):
        learner.sleep(settings=SETTINGS)
    specialists = learner.engine.specialists
    assert specialists.current == {}
    assert specialists.adapters.loaded == []


def test_a_lesson_forgotten_meanwhile_refuses_the_candidate(tmp_path, monkeypatch):
    learner, ids = taught(tmp_path, LESSONS)
    real = sleep_module.drift_of

    def forgetting(*args, **kwargs):
        learner.engine.memory.store.forget([ids[0]])
        return real(*args, **kwargs)

    monkeypatch.setattr(sleep_module, "drift_of", forgetting)
    (verdict,) = learner.sleep(settings=SETTINGS)
    assert not verdict.accepted
    assert "forgotten or replaced while" in verdict.reasons[-1]


def test_two_sleeps_at_once_wrong_domains_and_settings(tmp_path):
    learner, _ = taught(tmp_path, LESSONS)
    with pytest.raises(InputError, match="Domains with lessons: d"):
        learner.sleep("nothing", settings=SETTINGS)
    with FileLock(tmp_path / "adapters" / LOCK), pytest.raises(StoreBusyError, match="under way"):
        learner.sleep(settings=SETTINGS)
    with pytest.raises(SettingsError, match="folder of adapters"):
        toy_learner(toy_engine(parts=toy_parts())).sleep()
    for wrong in ({"general": 1}, {"wordings": 0}, {"general_share": -1}):
        with pytest.raises(SettingsError):
            replace(SETTINGS, **wrong).checked()


def test_names_of_adapters():
    assert adapter_name("support") == "support"
    assert adapter_name("Größe & Maß") != adapter_name("Größe / Maß")
    assert adapter_name("日本").startswith("domain-")


def test_a_checkpoint_brings_back_adapters_router_replay_and_anchor(night, tmp_path):
    learner, _, ids = night
    saved = learner.save_checkpoint(tmp_path / "whole.zip")
    shelf = learner.engine.specialists.shelf
    before = {p.relative_to(shelf.folder): p.read_bytes() for p in archive_files(shelf.folder)}
    other, _ = taught(tmp_path / "other", [])
    assert other.load_checkpoint(saved) == len(LESSONS)
    theirs = other.engine.specialists.shelf.folder
    assert {p.relative_to(theirs): p.read_bytes() for p in archive_files(theirs)} == before
    assert {str(p) for p in before} >= {REPLAY, VERDICTS, "router.safetensors", "d/current", "d/anchor-1.safetensors"}
    for question in [lesson.prompt for lesson in LESSONS] + ["Who bakes?", "Something unrelated"]:
        one, two = learner.engine.answer(question), other.engine.answer(question)
        assert (one.text, one.receipt.adapter) == (two.text, two.receipt.adapter)
        assert torch.equal(learner.engine.logits(question, steps=3), other.engine.logits(question, steps=3))
    assert other.engine.specialists.shelf.find("d").lessons == tuple(ids)


def test_loading_an_older_checkpoint_takes_back_what_was_trained_since(tmp_path):
    learner, _ = taught(tmp_path / "one", LESSONS)
    plain = learner.save_checkpoint(tmp_path / "before.jsonl")
    learner.sleep("d", settings=SETTINGS)
    asleep_once = learner.save_checkpoint(tmp_path / "once.zip")
    once = learner.engine.logits(LESSONS[0].prompt, tables=(), steps=2)
    worn = [learner.engine.answer(x.prompt, adapter="d@1").text for x in LESSONS]
    learner.sleep("d", settings=replace(SETTINGS, fresh=True, training=replace(TRAINING, seed=5, epochs=30)))
    learner.load_checkpoint(asleep_once)
    assert [a.id for a in learner.engine.specialists.shelf.all()] == ["d@1"]
    assert [learner.engine.answer(x.prompt, adapter="d@1").text for x in LESSONS] == worn
    learner.load_checkpoint(plain)
    assert learner.engine.specialists.shelf.all() == []
    assert learner.engine.answer(LESSONS[0].prompt).receipt.steps_corrected > 0
    assert torch.equal(learner.engine.logits(LESSONS[0].prompt, tables=(), steps=2), once)


def test_a_loaded_version_is_read_again_where_another_one_took_its_id(tmp_path):
    one, _ = taught(tmp_path / "one", LESSONS)
    one.sleep("d", settings=SETTINGS)
    two, _ = taught(tmp_path / "two", [Lesson("Who bakes?", "Xu", domain="d")])
    two.sleep("d", settings=SETTINGS)
    assert two.engine.answer("Who bakes?", adapter="d@1").text == "Xu"
    two.load_checkpoint(one.save_checkpoint(tmp_path / "one.zip"))
    assert two.engine.answer("Who bakes?", adapter="d@1").text == "Mo"


def test_a_checkpoint_of_another_base_model_or_damaged_changes_nothing(night, tmp_path):
    learner, _, _ = night
    saved = learner.save_checkpoint(tmp_path / "whole.zip")
    other = toy_learner(
        engine_over(toy_parts(seed=1), InMemoryLessonStore(), InMemoryDerivedStore(), tmp_path / "o" / "adapters")
    )
    other.teach(Lesson("Who stays?", "I"))
    with pytest.raises(AdapterMismatchError, match="holds adapters of tiny-llama"):
        other.load_checkpoint(saved)
    whole = saved.read_bytes()
    place = whole.index(b"adapter_model.safetensors") + 400
    for harmed in (whole[:-100], whole[: len(whole) // 2], whole[:place] + b"!!" + whole[place + 2 :]):
        saved.write_bytes(harmed)
        with pytest.raises(FileFormatError, match=r"damaged|no checkpoint"):
            learner.load_checkpoint(saved)
    assert other.engine.answer("Who stays?").text == "I"
    assert [a.id for a in learner.engine.specialists.shelf.all()] == ["d@1"]
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["adapters"]


def test_forgetting_reaches_the_adapters_of_a_checkpoint(tmp_path):
    with closing(on_disk(tmp_path / "home")) as engine:
        learner = toy_learner(engine)
        first, second = (learner.teach(lesson).lesson for lesson in LESSONS)
        learner.sleep("d", settings=SETTINGS)
        saved = learner.save_checkpoint(tmp_path / "home" / "whole.zip")
        forgotten = learner.forget(first.id)
        assert [b.action for b in forgotten.backups] == ["rewritten"]
        assert first.id.encode() not in saved.read_bytes()
        assert learner.load_checkpoint(saved) == 1
        assert learner.engine.specialists.shelf.all() == []
        assert learner.engine.memory.store.lesson(second.id).status == "active"


def test_no_checkpoint_is_written_or_loaded_during_a_sleep(night, tmp_path):
    learner, _, _ = night
    saved = learner.save_checkpoint(tmp_path / "whole.zip")
    with FileLock(learner.engine.specialists.shelf.folder / LOCK):
        with pytest.raises(StoreBusyError):
            learner.save_checkpoint(tmp_path / "again.zip")
        with pytest.raises(StoreBusyError):
            learner.load_checkpoint(saved)
    assert not (tmp_path / "again.zip").exists()


def test_wordings_of_a_model_are_trained_on(tmp_path):
    from everlearn.learning.rewording import Rewording
    from everlearn.learning.sleep import Sleep

    class Teacher:
        name = "toy"

        def ask(self, prompts):
            return [Reply("Is it known who that is: " + prompt.partition("Question: ")[2]) for prompt in prompts]

    with closing(taught(tmp_path, LESSONS)[0]) as learner:
        features = learner.engine.specialists.features
        rewording = Rewording(Teacher(), features, alike=-1.0)
        night = Sleep(learner.engine, SETTINGS, rewording=rewording)._night("d")
        asked = [list(night.wordings[lesson.id].asked) for lesson in night.lessons]
        assert asked == [[q, f"Is it known who that is: {q}"] for q in ("Who bakes?", "Who sings?")]
        (verdict,) = learner.sleep("d", settings=SETTINGS, rewording=rewording)
        assert verdict.accepted


def test_few_lessons_are_held_too():
    held = [Example(f"q{n}", "a") for n in range(5)]
    unrelated = Unrelated(held, [], [])
    assert unrelated.drawn(1, least=3) == held[:3]
    assert unrelated.drawn(1, least=64) == held
    assert unrelated.drawn(12, least=3) == [*held, *held, *held[:2]]
    assert unrelated.drawn(0, least=64) == []
    assert Unrelated([], [], []).drawn(4, least=64) == []


def test_the_base_model_is_asked_once_for_all_domains(tmp_path, monkeypatch):
    lessons = [*LESSONS, *(replace(lesson, domain="e") for lesson in MORE)]
    asked = []
    real = sleep_module.own_answers
    monkeypatch.setattr(sleep_module, "own_answers", lambda *a, **k: asked.append(1) or real(*a, **k))
    with closing(taught(tmp_path, lessons)[0]) as learner:
        assert len(learner.sleep(settings=SETTINGS)) == 2
    assert asked == [1]


def test_settings_are_changed_in_one_place():
    changed = SleepSettings().changed(epochs=2, rate=None, rank=4, null_space=1.0, fresh=True)
    assert (changed.training.epochs, changed.training.rate) == (2, SleepSettings().training.rate)
    assert (changed.adapter.rank, changed.adapter.alpha) == (4, 8.0)
    assert changed.adapter.frozen_blocks == SleepSettings().adapter.frozen_blocks
    assert (changed.null_space, changed.fresh) == (1.0, True)
    with pytest.raises(SettingsError):
        SleepSettings().changed(epochs=0)


def test_a_sleep_gives_way_before_each_step_and_holds_no_lock_meanwhile(tmp_path):
    """Answers need the locks: who waits for them with a lock in hand would wait for himself."""
    engine = taught(tmp_path, LESSONS)[0].engine
    free, parts = [], []

    def look():
        for lock in (engine.model.lock, engine.memory.lock):
            free.append(lock.acquire(blocking=False))
            if free[-1]:
                lock.release()

    def give_way():
        tried = threading.Thread(target=look)
        tried.start()
        tried.join()

    engine.give_way = give_way
    told = []
    training = replace(TRAINING, epochs=2, batch=4, micro_batch=2)
    Sleep(
        engine,
        replace(SETTINGS, training=training),
        progress=lambda what, done, total: told.append(what),
        watch=lambda _name, step: parts.append(step.step),
    ).domain("d")
    assert all(free)
    assert {"asking the base model", "restating", "training", "testing"} <= set(told)
    assert len(free) / 2 > len(told) + len(parts), "before each micro-batch, too"

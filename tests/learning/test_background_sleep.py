"""Sleeping by itself, while answers go on."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from everlearn.errors import SettingsError
from everlearn.learning.background_sleep import BackgroundSleep
from everlearn.learning.learner import Learner
from everlearn.records import Lesson
from learning.test_sleep import LESSONS, SETTINGS, TRAINING, engine_in
from toys import toy_engine


def test_after_enough_lessons_it_sleeps_and_answers_go_on_as_they_were(tmp_path):
    engine = engine_in(tmp_path)
    learner = Learner(engine, background=False)
    nightly = learner.nightly = BackgroundSleep(engine, 2, SETTINGS)
    bare = engine.logits("Something unrelated", tables=(), steps=3)
    learner.teach(LESSONS[0])
    learner.teach(LESSONS[0])  # known already: does not count
    assert nightly.wait(0)
    assert nightly.verdicts == []
    learner.teach(LESSONS[1])
    during = []
    while not nightly.wait(0.01):
        during.append(torch.equal(engine.logits("Something unrelated", tables=(), steps=3), bare))
        assert engine.answer(LESSONS[0].prompt).text == LESSONS[0].answer
    assert all(during)
    assert [verdict.adapter for verdict in nightly.verdicts] == ["d@1"]
    assert engine.answer(LESSONS[0].prompt).receipt.adapter in ("d@1", "")
    learner.close()


def test_closing_stops_a_sleep_and_the_next_one_goes_on(tmp_path, monkeypatch):
    long = replace(SETTINGS, training=replace(TRAINING, epochs=4000, save_every=1))
    engine = engine_in(tmp_path)
    learner = Learner(engine, background=False)
    learner.nightly = BackgroundSleep(engine, 1, long)
    under_way = threading.Event()
    told = learner.nightly._go_on

    def watch(what, done, total):
        if what == "training" and done > 2:
            under_way.set()
        told(what, done, total)

    monkeypatch.setattr(learner.nightly, "_go_on", watch)
    learner.teach(LESSONS[0])
    assert under_way.wait(60)
    learner.close()
    assert learner.nightly.verdicts == []
    assert engine.specialists.shelf.all() == []
    assert (tmp_path / "adapters" / "d" / ".training").exists()


def test_a_failing_sleep_is_logged_and_tried_again(tmp_path, caplog):
    engine = engine_in(tmp_path)
    learner = Learner(engine, background=False)
    wrong = replace(SETTINGS, training=replace(TRAINING, rate=1e30, epochs=30))
    learner.nightly = BackgroundSleep(engine, 1, wrong)
    learner.teach(LESSONS[0])
    assert learner.nightly.wait(60)
    assert "failed" in caplog.text or learner.nightly.verdicts
    learner.nightly._settings = SETTINGS
    learner.teach(Lesson("Who naps?", "Jo", domain="e"))
    assert learner.nightly.wait(60)
    assert any(verdict.accepted for verdict in learner.nightly.verdicts)
    learner.close()


def test_without_a_folder_of_adapters_it_says_so():
    with pytest.raises(SettingsError, match="no folder of adapters"):
        Learner(toy_engine(), background=False, consolidate_every=5)

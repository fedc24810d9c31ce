"""The trainer: it learns, resumes exactly, protects, and stops before it breaks anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from everlearn.errors import InputError, SettingsError, StoreFullError, TrainingError
from everlearn.learning.examples import Example, encoded
from everlearn.learning.fisher import first_anchor, fisher
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.trainer import STATE, Trainer
from everlearn.learning.training_log import FILE
from everlearn.learning.training_settings import TrainingSettings
from learning.training_toys import TEXT, known, task, toy_weights

A = task("a", ["kp", "qd", "vz", "mm"])
B = task("b", ["xy", "op", "ll", "ck"])
FAST = TrainingSettings(epochs=40, batch=4, micro_batch=4, rate=1e-2, save_every=5)


def changed(**values):
    return TrainingSettings(**{**FAST.to_dict(), **values})


def lines(folder):
    return [json.loads(line) for line in (folder / FILE).read_text().splitlines()]


def test_it_learns_what_it_is_shown(tmp_path):
    weights = toy_weights(tmp_path)
    assert known(weights, A) == 0
    seen = []
    trained = Trainer(weights, TEXT, FAST, folder=tmp_path / "t").train(A, progress=lambda *s: seen.append(s))
    assert known(weights, A) == 1
    assert trained.steps == 40
    assert trained.loss < lines(tmp_path / "t")[0]["loss"] / 3
    assert seen[-1] == (40, 40)
    logged = lines(tmp_path / "t")
    assert [line["step"] for line in logged] == list(range(1, 41))
    names = {"steps", "task", "replay", "ewc", "loss", "rate", "norm", "seconds", "seconds_left", "tokens_per_second"}
    assert names < set(logged[0])


def test_whoever_watches_gets_what_the_log_gets(tmp_path):
    seen = []
    Trainer(toy_weights(tmp_path), TEXT, changed(epochs=3, batch=2), folder=tmp_path / "t").train(A, watch=seen.append)
    assert [{"step": step.step, **step.figures()} for step in seen] == lines(tmp_path / "t")
    assert [step.steps for step in seen] == [6] * 6
    assert seen[-1].seconds_left == 0
    assert all(step.tokens_per_second > 0 and step.loss == pytest.approx(step.task) for step in seen)
    assert max(step.rate for step in seen) == pytest.approx(FAST.rate)


def test_plain_training_forgets_and_replay_and_ewc_each_protect(tmp_path):
    first = toy_weights(tmp_path / "first")
    Trainer(first, TEXT, FAST).train(A)
    learned = first.adapters.state("new")
    anchor = first_anchor(first, fisher(first, [encoded(TEXT, e) for e in A]))
    buffer = ReplayBuffer()
    buffer.add(A)

    def after(name, **how):
        weights = toy_weights(tmp_path / name)
        weights.adapters.restore("new", learned)
        settings = changed(epochs=30, strength=how.pop("strength", 0.0))
        Trainer(weights, TEXT, settings, **how).train(B)
        return known(weights, A), known(weights, B)

    plain, replay = after("plain"), after("replay", replay=buffer)
    ewc = after("ewc", anchor=anchor, strength=2.0)
    assert plain[1] == replay[1] == 1
    assert plain[0] <= 0.5
    assert replay[0] == 1
    assert ewc[0] > plain[0]
    assert ewc[1] >= 0.5


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path):
    states = []
    for micro in (8, 2):
        weights = toy_weights(tmp_path / str(micro))
        buffer = ReplayBuffer()
        buffer.add(B)
        Trainer(weights, TEXT, changed(epochs=2, micro_batch=micro), replay=buffer).train(A)
        states.append(weights.adapters.state("new"))
    # Adam divides a gradient by its size, so where that is rounding only, single weights differ by more than the rest.
    apart = [(states[0][n] - states[1][n]).norm() / states[0][n].norm() for n in states[0]]
    assert max(apart) < 1e-3


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(tmp_path):
    def state(name, seed):
        weights = toy_weights(tmp_path / name)
        Trainer(weights, TEXT, changed(epochs=3, batch=2, seed=seed)).train(A)
        return weights.adapters.state("new")

    one, two, other = state("one", 0), state("two", 0), state("other", 1)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.slow
def test_it_resumes_after_kill_9_with_the_same_losses(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from learning.test_trainer import A, B, TEXT, changed
        from learning.training_toys import toy_weights
        from everlearn.learning.replay import ReplayBuffer
        from everlearn.learning.trainer import Trainer
        folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
        buffer = ReplayBuffer(); buffer.add(B)
        def progress(step, steps):
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        settings = changed(epochs=20, batch=2, save_every=7)
        Trainer(toy_weights(folder), TEXT, settings, replay=buffer, folder=folder).train(A, B[:2], progress=progress)
        """
    )
    paths = [str(Path(__file__).parents[1]), *sys.path]

    def run(folder, kill_at):
        command = [sys.executable, "-c", script, str(folder), str(kill_at)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stderr

    assert run(tmp_path / "whole", 0) == (0, run(tmp_path / "again", 0)[1])
    code, _ = run(tmp_path / "killed", 24)
    assert code == -signal.SIGKILL
    assert [line["step"] for line in lines(tmp_path / "killed")] == list(range(1, 25))
    code, errors = run(tmp_path / "killed", 0)
    assert code == 0, errors
    same = [[(x["step"], x["loss"], x["norm"]) for x in lines(tmp_path / n)] for n in ("whole", "killed")]
    assert same[0] == same[1]
    assert len(same[0]) == 40


def test_a_state_of_another_training_is_not_gone_on_with(tmp_path):
    Trainer(toy_weights(tmp_path / "1"), TEXT, changed(epochs=5), folder=tmp_path).train(A)
    trained = Trainer(toy_weights(tmp_path / "2"), TEXT, changed(epochs=5), folder=tmp_path).train(A)
    assert trained.seconds < 1
    assert trained.loss == pytest.approx(lines(tmp_path)[-1]["loss"])
    Trainer(toy_weights(tmp_path / "3"), TEXT, changed(epochs=3, seed=1), folder=tmp_path).train(A)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    weights = toy_weights(tmp_path)
    trainer = Trainer(weights, TEXT, FAST)
    real, calls, good = trainer._losses, [], {}

    def losses(rows):
        calls.append(1)
        if len(calls) == 4:
            good.update(weights.adapters.state("new"))
        return real(rows) * (float("nan") if len(calls) == 5 else 1.0)

    monkeypatch.setattr(trainer, "_losses", losses)
    with pytest.raises(TrainingError, match="update 5"):
        trainer.train(A)
    now = weights.adapters.state("new")
    assert all(torch.equal(good[n], now[n]) for n in good)
    assert all(torch.isfinite(t).all() for t in now.values())


def test_a_full_disk_leaves_the_older_state(tmp_path, monkeypatch):
    weights = toy_weights(tmp_path)
    Trainer(weights, TEXT, changed(epochs=5), folder=tmp_path).train(A)
    before = (tmp_path / STATE).read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreFullError, match="No space left"):
        Trainer(weights, TEXT, changed(epochs=5, seed=3), folder=tmp_path).train(A)
    assert (tmp_path / STATE).read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_early_stopping_keeps_the_best_weights(tmp_path):
    weights = toy_weights(tmp_path)
    settings = changed(epochs=200, patience=3, evaluate_every=1)
    trained = Trainer(weights, TEXT, settings).train(A, task("a", ["zz", "zz", "zz", "zz"]))
    assert trained.stopped_early
    assert trained.steps < 200
    assert trained.validation is not None


def test_in_bfloat16_it_learns_as_well(tmp_path):
    weights = toy_weights(tmp_path)
    Trainer(weights, TEXT, changed(precision="bf16")).train(A)
    assert known(weights, A) >= 0.75
    assert all(t.dtype == torch.float32 for t in weights.adapters.state("new").values())


def test_a_long_prompt_loses_its_middle():
    row = encoded(TEXT, Example("begin " + "x" * 3000 + " end", "yes"), most=100)
    assert len(row.prompt) + len(row.answer) == 100
    assert "begin" in TEXT.decode(row.prompt)
    assert "end" in TEXT.decode(row.prompt)


def test_wrong_settings_and_nothing_to_learn(tmp_path):
    for wrong in ({"epochs": 0}, {"rate": 0}, {"schedule": "up"}, {"strength": -1}, {"precision": "int8"}):
        with pytest.raises(SettingsError):
            changed(**wrong).checked()
    with pytest.raises(InputError, match="nothing to train"):
        Trainer(toy_weights(tmp_path), TEXT).train([])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_events_for_tensorboard(tmp_path):
    Trainer(toy_weights(tmp_path), TEXT, changed(epochs=2), folder=tmp_path / "t", tensorboard=True).train(A)
    assert list((tmp_path / "t").glob("events.out.tfevents.*"))

"""Pre-training: what was derived, exact resume, kept checkpoints, and what happens when something goes wrong."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from everlearn.errors import FileFormatError, InputError, SettingsError, StoreFullError, TrainingError
from everlearn.learning.pretrainer import Pretrainer
from everlearn.learning.pretraining import open_pretraining, read_log
from everlearn.learning.pretraining_settings import PretrainingSettings, read_settings, settings_from
from everlearn.learning.pretraining_state import Checkpoints
from everlearn.learning.together import Together
from everlearn.models.base import BaseModel
from everlearn.models.sources import ModelFiles

TINY = {
    "size": "1m",
    "model": {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48},
    "sequence": 33,
    "update_tokens": 128,
    "micro_batch": 2,
    "tokens": 128 * 12,
    "precision": "float32",
    "evaluate_every": 4,
    "evaluate_tokens": 320,
    "save_every": 3,
    "prompts": ["The boat"],
    "held_out": 0.2,
}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "boats.txt"
    path.write_text("".join(f"Boat {n} lies in the harbour of Quimper.\n" for n in range(900)), encoding="utf-8")
    return path


def opened(text, folder, **changes):
    settings = settings_from({**TINY, "data": [str(text)], **changes})
    return open_pretraining(settings, folder, resume=folder.exists())


def losses(folder):
    return [(row["step"], row["loss"]) for row in read_log(folder)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"variant": "hybrid", "optimizer": "muon", "ema": 0.9}, {"schedule": "wsd", "gradient_checkpointing": True}],
)
def test_a_training_that_was_stopped_goes_on_exactly(text, tmp_path, changes):
    opened(text, tmp_path / "whole", **changes).trainer.train()
    changes = {**changes, "tokenizer": str(tmp_path / "whole" / "tokenizer")}

    def stop(step):
        if step.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(text, tmp_path / "cut", **changes).trainer.train(stop)
    again = opened(text, tmp_path / "cut", **changes)
    assert 0 < again.done <= 8
    outcome = again.trainer.train()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert outcome.steps == 12
    whole, cut = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_gradient_checkpointing_and_micro_batches_change_no_loss(text, tmp_path):
    opened(text, tmp_path / "a").trainer.train()
    again = {"tokenizer": str(tmp_path / "a" / "tokenizer")}
    opened(text, tmp_path / "b", gradient_checkpointing=True, micro_batch=4, **again).trainer.train()
    for (_, one), (_, other) in zip(losses(tmp_path / "a"), losses(tmp_path / "b"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_it_learns_and_the_model_can_be_asked(text, tmp_path):
    done = opened(text, tmp_path / "run", tokens=128 * 60, rate=1e-2, evaluate_every=20, save_every=60).trainer.train()
    rows = read_log(tmp_path / "run")
    assert rows[-1]["loss"] < rows[0]["loss"] - 1.5
    judged = [row["bits_per_byte"] for row in rows if "bits_per_byte" in row]
    assert judged[-1] == done.bits_per_byte < judged[0]
    model = BaseModel.from_folder(ModelFiles("own", done.folder, "0" * 64), dtype="float32")
    assert model.num_blocks == 4


def test_bits_per_byte_are_those_of_the_definition(text, tmp_path):
    trainer = opened(text, tmp_path / "run").trainer
    held = trainer._held_out
    total, module = 0.0, trainer._module.eval()
    ids = []
    with torch.no_grad():
        for row in held._rows:
            logits = module(input_ids=row[:, :-1]).logits[0].log_softmax(-1)
            for n, token in enumerate(row[0, 1:].tolist()):
                total -= float(logits[n, token])
                ids.append(token)
    text_bytes = len(trainer._tokenizer.decode([i for i in ids if i != trainer._blocks.end]).encode())
    trainer._held_out._end = None
    assert held.bytes == text_bytes
    assert held.bits_per_byte(module, 3) == pytest.approx(total / math.log(2) / text_bytes, rel=1e-4)


def test_the_newest_checkpoints_and_the_best_are_kept(text, tmp_path):
    trainer = opened(text, tmp_path / "run", keep=2).trainer
    trainer.train()
    kept = [int(path.name) for path in Checkpoints(tmp_path / "run", 2).all()]
    assert kept[-2:] == [9, 12] or kept[-1] == 12
    assert trainer.progress.best_step in kept
    assert len(kept) <= 3


def test_a_loss_that_is_no_number_stops_and_keeps_what_was_good(text, tmp_path, monkeypatch):
    trainer = opened(text, tmp_path / "run").trainer
    do = Pretrainer._loss

    def bad(self, rows, total):
        loss = do(self, rows, total)
        return loss * float("nan") if self.progress.step == 5 else loss

    monkeypatch.setattr(Pretrainer, "_loss", bad)
    with pytest.raises(TrainingError, match="update 6 the loss is nan") as caught:
        trainer.train()
    assert "--rate" in caught.value.hint
    assert all(bool(torch.isfinite(p).all()) for p in trainer._parameters.values())
    monkeypatch.setattr(Pretrainer, "_loss", do)
    again = opened(text, tmp_path / "run")
    assert again.done == 5
    assert again.trainer.train().steps == 12


def test_a_full_disk_leaves_the_checkpoint_before(text, tmp_path, monkeypatch):
    from everlearn.learning import pretraining_state

    trainer = opened(text, tmp_path / "run").trainer
    do, calls = pretraining_state.save_file, []

    def full(*args, **options):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return do(*args, **options)

    monkeypatch.setattr(pretraining_state, "save_file", full)
    with pytest.raises(StoreFullError, match="No space left"):
        trainer.train()
    monkeypatch.undo()
    checkpoints = Checkpoints(tmp_path / "run", 2)
    assert [int(path.name) for path in checkpoints.all()] == [3]
    assert not list(checkpoints.folder.glob(".*"))


def test_a_damaged_checkpoint_is_named(text, tmp_path):
    opened(text, tmp_path / "run").trainer.train()
    newest = Checkpoints(tmp_path / "run", 2).all()[-1]
    (newest / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match="cannot be gone on from"):
        opened(text, tmp_path / "run")
    shutil.rmtree(newest)
    assert opened(text, tmp_path / "run").done < 12


def test_another_optimizer_or_model_cannot_go_on(text, tmp_path):
    opened(text, tmp_path / "run").trainer.train()
    with pytest.raises(FileFormatError, match="another optimiser"):
        opened(text, tmp_path / "run", optimizer="muon")
    wider = {**TINY["model"], "hidden_size": 64}
    with pytest.raises(FileFormatError, match="cannot be gone on from"):
        opened(text, tmp_path / "run", model=wider)


def test_a_folder_with_a_training_is_not_overwritten(text, tmp_path):
    opened(text, tmp_path / "run").trainer.train()
    with pytest.raises(InputError, match="holds a training already"):
        open_pretraining(settings_from({**TINY, "data": [str(text)]}), tmp_path / "run")


def test_everything_follows_from_the_size():
    settings = PretrainingSettings(size="15m").derived(15_000_000, 320, 1_024)
    assert settings.tokens == 300_000_000
    assert settings.rate == pytest.approx(1.9e-3)
    assert settings.sequence == 256
    assert settings.rows * 255 == settings.update_tokens
    assert PretrainingSettings(size="15m", rate=1e-3, tokens=5_000).derived(1, 320, 1_024).rate == 1e-3


def test_settings_survive_yaml_and_wrong_ones_are_named(tmp_path):
    settings = settings_from({**TINY, "tokens": "3M", "separate_documents": "off", "data": "a.txt"})
    assert (settings.tokens, settings.separate_documents, settings.data) == (3_000_000, False, ("a.txt",))
    path = tmp_path / "c.yaml"
    path.write_text(settings.to_yaml(), encoding="utf-8")
    assert settings_from(read_settings(path)) == settings
    with pytest.raises(SettingsError, match="tokns") as caught:
        settings_from({"tokns": 5})
    assert "tokens" in caught.value.hint
    for wrong in ({"tokens": "many"}, {"rate": "x"}, {"gradient_checkpointing": "perhaps"}, {"sequence": 1.5}):
        with pytest.raises(SettingsError):
            settings_from(wrong)
    for wrong in ({"size": "2m"}, {"optimizer": "sgd"}, {"ema": 1.0}, {"schedule": "stairs"}, {"precision": "int8"}):
        with pytest.raises(SettingsError):
            PretrainingSettings(rate=1, tokens=1, sequence=9, update_tokens=8, micro_batch=1, **wrong).checked()
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="no settings"):
        read_settings(path)


SCRIPT = """
import sys
from pathlib import Path
from everlearn.learning.pretraining import open_pretraining
from everlearn.learning.pretraining_settings import read_settings, settings_from
from everlearn.learning.together import joined
import torch
torch.set_num_threads(1)
with joined() as together:
    run = open_pretraining(
        settings_from(read_settings(Path(sys.argv[1]))), Path(sys.argv[2]), resume=True, together=together
    )
    run.trainer.train(lambda step: print(step.step, flush=True))
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_killed_training_goes_on_with_the_same_losses(text, tmp_path):
    config = tmp_path / "config.yaml"
    settings = settings_from({**TINY, "data": [str(text)], "tokens": 128 * 40, "optimizer": "muon"})
    config.write_text(settings.to_yaml(), encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, str(config)]
    subprocess.run([*command, str(tmp_path / "whole")], env=environment(), check=True, capture_output=True)
    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole" / "tokenizer", cut / "tokenizer")
    for wanted in (7, 19, 32):
        running = subprocess.Popen([*command, str(cut)], env=environment(), stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        for line in running.stdout:
            if int(line) >= wanted:
                break
        running.send_signal(signal.SIGKILL)
        running.wait()
        running.stdout.close()
    subprocess.run([*command, str(cut)], env=environment(), check=True, capture_output=True)
    assert losses(cut) == losses(tmp_path / "whole")


@pytest.mark.parametrize("first", [True, False])
def test_all_processes_wait_for_the_tokenizer_whoever_comes_late(text, tmp_path, monkeypatch, first):
    """A process that comes when the tokenizer is there already has to wait as often as the one that made it."""
    waits = []
    monkeypatch.setattr(Together, "wait", lambda _self: waits.append(1))

    def prepared(folder):
        before = len(waits)
        settings = settings_from({**TINY, "data": [str(text)]})
        open_pretraining(settings, folder, resume=folder.exists(), together=Together(0 if first else 1, 2))
        return len(waits) - before

    opened(text, tmp_path / "late").trainer.train()
    late = prepared(tmp_path / "late")
    assert late == (prepared(tmp_path / "new") if first else late) == 1


@pytest.mark.slow
def test_two_processes_train_as_one_does(text, tmp_path):
    settings = settings_from({**TINY, "data": [str(text)], "variant": "full-feature", "update_tokens": 256})
    opened(text, tmp_path / "one", variant="full-feature", update_tokens=256).trainer.train()
    config = tmp_path / "config.yaml"
    config.write_text(settings.to_yaml(), encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "script.py")]
    done = subprocess.run(
        [sys.executable, *command, str(config), str(tmp_path / "two")],
        env=environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for (step, one), (_, two) in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=2e-4), f"update {step}"


@pytest.mark.slow
def test_fifty_megabytes_begin_in_seconds(tmp_path):
    """The bound is loose: what it guards against is tokenising everything first, which takes minutes."""
    path = tmp_path / "big.txt"
    line = "The harbour of Quimper had seven boats, and none of them was ever painted red, as far as I know.\n"
    path.write_text(line * (50_000_000 // len(line)), encoding="utf-8")
    tokenizer = tmp_path / "small"
    text = tmp_path / "small.txt"
    text.write_text(line * 500, encoding="utf-8")
    opened(text, tokenizer, tokens=128).trainer.train()
    run = opened(path, tmp_path / "run", tokens=128, tokenizer=str(tokenizer / "tokenizer"), held_out=0.005)
    run.trainer.train()
    assert len(list((tmp_path / "run" / "tokens").iterdir())) <= 4
    assert run.text_bytes > 49_000_000
    assert time.monotonic() > 0

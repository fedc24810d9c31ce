"""`everlearn train`: from text to a model that answers, and clear words where it cannot be."""

import json

import pytest

SMALL = (
    "sequence=33",
    "update_tokens=128",
    "micro_batch=2",
    "evaluate_tokens=320",
    "held_out=0.2",
    "precision=float32",
)
MODEL = "model: {vocab_size: 300, hidden_size: 32, intermediate_size: 48}\nsize: 1m\n"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "boats.txt"
    path.write_text("".join(f"Boat {n} lies in the harbour of Quimper.\n" for n in range(900)), encoding="utf-8")
    return str(path)


@pytest.fixture
def pretrain(cli, text, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(MODEL, encoding="utf-8")

    def call(*options):
        changes = [part for value in SMALL for part in ("--set", value)]
        out = str(tmp_path / "run")
        return cli("train", "pretrain", "--data", text, "--config", str(config), "-o", out, *changes, *options)

    return call


def test_a_training_says_how_it_goes_and_leaves_a_model(pretrain, tmp_path):
    result = pretrain("--tokens", "1k", "--json", str(tmp_path / "report.json"))
    assert result.code == 0, result
    for part in ("1m dense", "parameters, 8 updates", "bits a byte", "8/8", "best", "training.png", "hidden_size: 32"):
        assert part in result.out, part
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["steps"], report["tokens"]) == (8, 8 * 128)
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert (tmp_path / "run" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "run" / "steps.jsonl").read_text().splitlines()) == 8


def test_it_goes_on_only_when_it_is_told_to(pretrain):
    assert pretrain("--tokens", "512").code == 0
    refused = pretrain("--tokens", "1k")
    assert refused.code == 2
    assert "--resume" in refused.err
    again = pretrain("--tokens", "1k", "--resume")
    assert again.code == 0
    assert "going on behind update 4" in again.out


def test_a_dry_run_trains_nothing(pretrain, tmp_path):
    result = pretrain("--tokens", "1k", "--dry-run")
    assert result.code == 0
    assert "rate: 0.006" in result.out
    assert not (tmp_path / "run" / "model").exists()


def test_what_cannot_be_done_is_said(cli, pretrain, tmp_path):
    assert "Did you mean sequence?" in pretrain("--set", "sequnce=5").err
    assert "name=value" in pretrain("--set", "sequence").err
    assert "1m, 15m" in pretrain("--size", "2m").err
    assert "nothing to train on" in cli("train", "pretrain", "-o", str(tmp_path / "x")).err
    assert "no file or folder" in cli("train", "pretrain", "-d", "none.txt", "-o", str(tmp_path / "x")).err
    (tmp_path / "empty.txt").write_text("")
    assert "is empty" in cli("train", "pretrain", "-d", str(tmp_path / "empty.txt"), "-o", str(tmp_path / "x")).err


def test_a_tokenizer_is_learned(cli, text, tmp_path):
    result = cli("train", "tokenizer", "--data", text, "-v", "300", "-o", str(tmp_path / "tok"))
    assert result.code == 0, result
    assert "tokens in" in result.out
    assert (tmp_path / "tok" / "tokenizer.json").exists()
    assert "too small" in cli("train", "tokenizer", "--data", text, "-v", "9", "-o", str(tmp_path / "tok")).err


def test_a_model_is_trained_further_and_asked(cli, tmp_path, parts, monkeypatch):
    from everlearn import wiring
    from toys import toy_parts

    monkeypatch.setattr(wiring, "load_parts", lambda settings, progress=None: toy_parts())
    data = tmp_path / "pairs.jsonl"
    data.write_text("\n".join(json.dumps({"prompt": f"Boat {n}?", "answer": "Red."}) for n in range(16)))
    options = ("--epochs", "4", "--rate", "0.005", "--rank", "4", "--batch", "4")
    result = cli("train", "finetune", "--data", str(data), "--name", "boats", *options)
    assert result.code == 0, result
    assert "kept as boats@1" in result.out
    assert "14 examples" in result.err or "examples to train on" in result.err
    assert cli("ask", "Boat 3?", "--adapter", "boats", "--json").json["receipt"]["adapter"] == "boats@1"
    full = cli("train", "finetune", "-d", str(data), "--method", "full", "-o", str(tmp_path / "f"), "--epochs", "1")
    assert full.code == 0, full
    assert (tmp_path / "f" / "model" / "model.safetensors").exists()

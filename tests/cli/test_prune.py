"""`everlearn train prune`, and base models in fewer bits, over a small model in a folder."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from safetensors.torch import load_file

from everlearn.cli.doctor_machine import device
from everlearn.models.base import BaseModel
from everlearn.models.sources import ModelFiles
from everlearn.wiring import Settings
from toys import byte_tokenizer, tiny_module


@pytest.fixture
def base(tmp_path):
    tiny_module().save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def test_a_pruned_model_is_written_and_loads(cli, base, tmp_path):
    out = tmp_path / "out"
    result = cli("--model", str(base), "train", "prune", "--share", "0.5", "--rounds", "2", "--out", str(out), "--json")
    assert result.code == 0, result
    assert result.json["zero"] == pytest.approx(0.5, abs=0.01)
    matrices = {n: t for n, t in load_file(out / "model.safetensors").items() if ".layers." in n and t.dim() == 2}
    zero = sum(int((t == 0).sum()) for t in matrices.values()) / sum(t.numel() for t in matrices.values())
    assert zero == pytest.approx(0.5, abs=0.01)
    model = BaseModel.from_folder(ModelFiles("out", out, "c" * 64))
    assert model.forward(torch.tensor([[1, 2, 3]]), model.new_cache()).isfinite().all()


def test_what_cannot_be_pruned_is_told_first(cli, base, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    result = cli("--model", str(base), "train", "prune", "--out", str(tmp_path / "out"))
    assert result.code == 2
    assert "not empty" in result.err
    monkeypatch.setenv("EVERLEARN_DTYPE", "int8")
    refused = cli("--model", str(base), "train", "prune", "--out", str(tmp_path / "o"))
    assert "int8 cannot be pruned" in refused.err
    monkeypatch.delenv("EVERLEARN_DTYPE")
    assert "share is 2" in cli("--model", str(base), "train", "prune", "--share", "2", "--out", str(tmp_path / "o")).err


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize(("dtype", "kind", "near"), [("int8", "Linear8bitLt", 0.1), ("nf4", "Linear4bit", 0.5)])
def test_fewer_bits_answer_nearly_the_same(base, dtype, kind, near):
    files = ModelFiles("base", base, "b" * 64)
    small, whole = (BaseModel.from_folder(files, device="cpu", dtype=name) for name in (dtype, "bfloat16"))
    assert [type(m).__name__ for m in small.module.modules()].count(kind) == 4 * 7
    assert (small.number_format, whole.number_format) == (dtype, "torch.bfloat16")
    ids = torch.tensor([[5, 9, 2, 7]])
    a, b = (model.forward(ids, model.new_cache()).float() for model in (small, whole))
    assert float((a - b).abs().mean()) < near * float(b.std())
    twin = small.twin()
    assert torch.equal(twin.forward(ids, twin.new_cache()).float(), a)
    pairs = zip(small.module.modules(), twin.module.modules(), strict=True)
    held = [(m.weight.data_ptr(), n.weight.data_ptr()) for m, n in pairs if type(m).__name__ == kind]
    if dtype == "int8":
        pairs = zip(small.module.modules(), twin.module.modules(), strict=True)
        held = [(m.state.CB.data_ptr(), n.state.CB.data_ptr()) for m, n in pairs if type(m).__name__ == kind]
    assert held
    assert all(mine == its for mine, its in held)  # no second copy of the weights


def test_formats_are_told_by_the_doctor():
    assert "int8 or nf4" in device(Settings(device="cpu", dtype="int3")).mend
    assert "nf4" in device(Settings(device="cpu", dtype="nf4")).found

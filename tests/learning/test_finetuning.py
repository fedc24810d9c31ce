"""Training a model of others further: as an adapter, over 4 bits, or all weights."""

import importlib.util

import pytest
import torch

from everlearn import Learner, wiring
from everlearn.errors import FileFormatError, InputError
from everlearn.learning.distilling import is_held_out
from everlearn.learning.finetuning import examples_in, finetune_adapter, finetune_full
from everlearn.learning.training_settings import TrainingSettings
from everlearn.models.base import BaseModel
from everlearn.models.sources import ModelFiles
from everlearn.specialists.settings import AdapterSettings
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from toys import byte_tokenizer, tiny_module, toy_parts

QUICK = TrainingSettings(epochs=8, rate=5e-3, batch=4, micro_batch=4)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"What is boat {n} called?,Boat {n} is the Quimper." for n in range(24)]
    path.write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def engine(tmp_path):
    made = wiring.engine_over(toy_parts(), InMemoryLessonStore(), InMemoryDerivedStore(), tmp_path / "adapters")
    yield made
    made.close()


def test_examples_never_change_sides(data):
    train, held = examples_in(data)
    assert len(train) + len(held) == 24
    assert 1 <= len(held) < len(train)
    assert examples_in(data)[1][0].prompt == held[0].prompt
    assert train[0].source.startswith("pairs.csv:")


def test_what_cannot_be_trained_on_is_named(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("question,answer\nOnly one?,Yes.\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds 1 example"):
        examples_in(path)
    path.write_text("question,answer\nA?,B.\nC?,\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="line 3"):
        examples_in(path)
    path.write_text("question,answer\nA?,B.\nC?,D.\n", encoding="utf-8")
    train, held = examples_in(path)
    assert (len(train), len(held)) == (1, 1)


def test_an_adapter_that_is_better_is_kept_and_answers(engine, data):
    before = engine.answer("What is boat 3 called?", tables=()).text
    verdict = finetune_adapter(engine, "boats", data, QUICK, AdapterSettings(rank=8, modules="all"))
    assert verdict.accepted, verdict
    assert verdict.figures["loss"] < verdict.figures["loss_base"]
    assert verdict.adapter == "boats@1"
    assert engine.answer("What is boat 3 called?", tables=(), adapter="boats").text != before
    assert engine.answer("What is boat 3 called?", tables=()).text == before
    assert not list(engine.specialists.shelf.folder.glob(".examples-*"))


def test_one_that_is_worse_on_what_was_held_out_changes_nothing(engine, tmp_path):
    data = tmp_path / "pairs.csv"
    rows = [f"Boat {n}?,{'qqqqqqqq' if is_held_out(f'Boat {n}?') else 'aaaaaaaa'}" for n in range(24)]
    data.write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    verdict = finetune_adapter(engine, "boats", data, QUICK, AdapterSettings(rank=8, modules="all"))
    assert not verdict.accepted
    assert engine.specialists.shelf.all() == []


def test_all_weights_are_trained_and_the_model_can_be_loaded(data, tmp_path):
    parts = toy_parts()
    untouched = {name: p.clone() for name, p in parts.model.module.named_parameters()}
    done = finetune_full(
        parts.model, parts.text, data, tmp_path / "run", TrainingSettings(epochs=4, rate=3e-3, batch=4)
    )
    assert done.loss < done.loss_base
    assert any(not torch.equal(p, untouched[n]) for n, p in parts.model.module.named_parameters())
    again = BaseModel.from_folder(ModelFiles("own", done.folder, "0" * 64), dtype="float32")
    ids = torch.tensor([byte_tokenizer().encode("What is boat 3 called?")])
    assert torch.allclose(
        again.forward(ids, again.new_cache()), parts.model.forward(ids, parts.model.new_cache()), atol=1e-5
    )


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_an_adapter_is_trained_over_4_bits_and_worn_by_the_whole_model(data, tmp_path):
    """Llama with matrices that 4 bits pay for; the adapter then answers over the unquantised base."""
    module = tiny_module()
    module.save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    files = ModelFiles("base", tmp_path / "base", "b" * 64)
    small, whole = (BaseModel.from_folder(files, dtype=dtype) for dtype in ("nf4", "bfloat16"))
    bits = [type(m).__name__ for m in small.module.modules()].count("Linear4bit")
    assert bits == 4 * 7
    parts = toy_parts()
    for model, name in ((small, "train"), (whole, "ask")):
        own = wiring.Parts(model, parts.text, parts.keys)
        engine = wiring.engine_over(own, InMemoryLessonStore(), InMemoryDerivedStore(), tmp_path / "adapters")
        if name == "train":
            verdict = finetune_adapter(engine, "boats", data, QUICK, AdapterSettings(rank=8, modules="all"))
            assert verdict.accepted, verdict
        else:
            bare = engine.answer("What is boat 3 called?", tables=()).text
            assert engine.answer("What is boat 3 called?", tables=(), adapter="boats").text != bare
        Learner(engine, background=False).close()
        engine.close()

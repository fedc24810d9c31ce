"""Adapters on a toy model: off is the base, versions come back, rows of a batch wear different ones."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel

from everlearn.errors import AdapterMismatchError, AdapterNotFoundError, CorruptWeightsError, SettingsError
from everlearn.models.base import BaseModel
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.adapters import Adapters
from everlearn.specialists.settings import AdapterSettings, targets
from everlearn.specialists.shelf import LINEAGE, WEIGHTS, AdapterShelf
from toys import FAMILIES, tiny_module

IDS = torch.tensor([[5, 9, 80, 33], [7, 7, 40, 12], [99, 3, 2, 1]])


def toy_model(family="llama", digest="a" * 64, seed=0):
    return BaseModel(tiny_module(family, seed=seed), name="toy", digest=digest)


def logits(model, ids=IDS):
    return model.forward(ids, model.new_cache())


def draft(model, name="support", **more):
    return Adapter(name, model.name, model.digest, **more)


def shaken(adapters, adapter_id, seed):
    """An adapter that says something: both factors random."""
    adapters.create(adapter_id, AdapterSettings(rank=4), seed=seed)
    torch.manual_seed(seed)
    for parameter in adapters.parameters(adapter_id).values():
        parameter.data.normal_(std=0.2)


@pytest.fixture
def model():
    return toy_model()


@pytest.fixture
def adapters(model, tmp_path):
    return Adapters(model, AdapterShelf(tmp_path / "adapters"))


@pytest.mark.parametrize("family", FAMILIES)
def test_off_is_bit_identical_to_the_base_and_on_is_not(family, tmp_path):
    model = toy_model(family)
    adapters = Adapters(model, AdapterShelf(tmp_path))
    bare = logits(model)
    shaken(adapters, "a", 1)
    assert torch.equal(logits(model), bare)
    with adapters.worn(["a"] * 3):
        assert not torch.allclose(logits(model), bare)
    assert torch.equal(logits(model), bare)
    adapters.unload("a")
    assert torch.equal(logits(model), bare)
    assert adapters.loaded == []


def test_a_new_adapter_says_nothing_and_the_same_seed_gives_the_same_bits(model, adapters):
    bare = logits(model)
    adapters.create("a", AdapterSettings(), seed=3)
    adapters.create("b", AdapterSettings(), seed=3)
    adapters.create("c", AdapterSettings(), seed=4)
    with adapters.worn(["a"] * 3):
        assert torch.equal(logits(model), bare)
    a, b, c = (adapters.state(x) for x in "abc")
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert not all(torch.equal(a[n], c[n]) for n in a)


def test_rows_of_one_batch_wear_different_adapters(model, adapters):
    shaken(adapters, "a", 1)
    shaken(adapters, "b", 2)
    bare = logits(model)
    with adapters.worn(["a"] * 3):
        only_a = logits(model)
    with adapters.worn(["b"] * 3):
        only_b = logits(model)
    with adapters.worn(["a", None, "b"]):
        mixed = logits(model)
    assert torch.equal(mixed[1], bare[1])
    assert torch.allclose(mixed[0], only_a[0], atol=1e-5)
    assert torch.allclose(mixed[2], only_b[2], atol=1e-5)
    assert torch.equal(logits(model), bare)


def test_wearing_what_is_not_loaded_is_an_error_and_nothing_stays_on(model, adapters):
    shaken(adapters, "a", 1)
    bare = logits(model)
    with pytest.raises(AdapterNotFoundError, match="nobody"), adapters.worn(["a", "nobody"]):
        pass
    with pytest.raises(RuntimeError, match="interrupted"), adapters.worn(["a", None, "a"]):
        raise RuntimeError("interrupted")
    assert torch.equal(logits(model), bare)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_version_is_kept_in_pefts_format_and_loaded_again(model, adapters, tmp_path):
    shaken(adapters, "new", 1)
    kept = adapters.keep("new", draft(model, lessons=("l1", "l2"), data={"x.jsonl": "ab"}, settings={"rank": 4}))
    assert kept.id == "support@1"
    with adapters.worn(["new"] * 3):
        said = logits(model)

    other = toy_model()
    again = Adapters(other, AdapterShelf(tmp_path / "adapters"))
    again.shelf.point("support", 1)
    assert again.load("support") == "support@1"
    assert again.load("support@1") == "support@1"
    with again.worn(["support@1"] * 3):
        assert torch.equal(logits(other), said)
    found = again.shelf.find("support")
    assert (found.lessons, dict(found.data), dict(found.settings)) == (("l1", "l2"), {"x.jsonl": "ab"}, {"rank": 4})

    third = tiny_module()
    PeftModel.from_pretrained(third, str(again.shelf.path(found)))
    with torch.inference_mode():
        assert torch.allclose(third.eval()(IDS).logits[:, -1].float(), said, atol=1e-6)


def test_versions_roll_back_by_moving_the_pointer(model, adapters):
    shaken(adapters, "a", 1)
    adapters.keep("a", draft(model))
    shaken(adapters, "b", 2)
    second = adapters.keep("b", draft(model, parent="support@1"))
    adapters.shelf.point("support", 2)
    assert adapters.load("support") == "support@2" == second.id
    adapters.shelf.point("support", 1)
    assert adapters.load("support") == "support@1"
    assert adapters.loaded == ["a", "b", "support@1", "support@2"]
    adapters.shelf.point("support", None)
    with pytest.raises(AdapterNotFoundError, match="support"):
        adapters.load("support")


def test_another_base_model_is_refused(model, adapters, tmp_path):
    shaken(adapters, "a", 1)
    adapters.keep("a", draft(model))
    stranger = Adapters(toy_model(digest="b" * 64), AdapterShelf(tmp_path / "adapters"))
    with pytest.raises(AdapterMismatchError, match="support@1 was trained on toy"):
        stranger.load("support@1")
    assert stranger.loaded == []


def test_damaged_weights_are_refused(model, adapters, tmp_path):
    shaken(adapters, "a", 1)
    folder = adapters.shelf.path(adapters.keep("a", draft(model)))
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CorruptWeightsError, match="sha256"):
        adapters.load("support@1")
    (folder / WEIGHTS).write_bytes(whole[:-9])
    with pytest.raises(CorruptWeightsError, match="announced"):
        adapters.load("support@1")
    (folder / LINEAGE).write_text(json.dumps({"form": 99}))
    with pytest.raises(CorruptWeightsError, match="newer"):
        adapters.shelf.find("support@1")


def test_merging_says_the_same_and_leaves_the_old_bits(model, adapters):
    shaken(adapters, "a", 1)
    shaken(adapters, "b", 2)
    bare = logits(model)
    with adapters.worn(["a"] * 3):
        worn = logits(model)
    with adapters.merged("a", IDS) as module:
        assert torch.allclose(module(IDS).logits[:, -1].float(), worn, atol=1e-4)
    assert torch.equal(logits(model), bare)
    with adapters.worn(["b", None, "a"]):
        assert torch.allclose(logits(model)[2], worn[2], atol=1e-5)
    with pytest.raises(AdapterMismatchError, match="answers otherwise"), adapters.merged("a", IDS, tolerance=0.0):
        pass
    assert torch.equal(logits(model), bare)


def test_unloading_one_of_several_leaves_the_others(model, adapters):
    shaken(adapters, "a", 1)
    shaken(adapters, "b", 2)
    bare = logits(model)
    with adapters.worn(["b"] * 3):
        worn = logits(model)
    adapters.unload("a")
    assert adapters.loaded == ["b"]
    assert torch.equal(logits(model), bare)
    with adapters.worn(["b"] * 3):
        assert torch.equal(logits(model), worn)


def test_training_changes_the_adapter_alone(model, adapters):
    shaken(adapters, "a", 1)
    shaken(adapters, "b", 2)
    before, others = adapters.state("a"), adapters.state("b")
    weights = {n: p.clone() for n, p in model.module.named_parameters() if "lora_" not in n}
    with adapters.training("a"):
        loss = model.module(IDS, labels=IDS).loss
        loss.backward()
        for parameter in adapters.parameters("a").values():
            assert parameter.grad is not None
            parameter.data -= 0.1 * parameter.grad
    assert not any(torch.equal(before[n], t) for n, t in adapters.state("a").items())
    assert all(torch.equal(others[n], t) for n, t in adapters.state("b").items())
    assert all(torch.equal(weights[n], p) for n, p in model.module.named_parameters() if n in weights)
    assert not any(p.requires_grad for p in model.module.parameters())


def test_which_layers_an_adapter_lies_over(model):
    mlp = targets(model, AdapterSettings())
    assert len(mlp) == 12
    assert all("mlp" in name for name in mlp)
    assert all("attn" in name for name in targets(model, AdapterSettings(modules="attention")))
    assert len(targets(model, AdapterSettings(modules="all"))) == 28
    assert {n.split(".")[2] for n in targets(model, AdapterSettings(frozen_blocks=0.5))} == {"2", "3"}
    assert {n.split(".")[2] for n in targets(model, AdapterSettings(frozen_blocks=3))} == {"3"}
    for wrong in ({"rank": 0}, {"modules": "heads"}, {"frozen_blocks": 4}, {"frozen_blocks": -1}):
        with pytest.raises(SettingsError):
            targets(model, AdapterSettings(**wrong))

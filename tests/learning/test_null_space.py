"""Directions that unrelated text hardly uses: found, kept to, and nothing is heard outside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as tf

from everlearn.errors import SettingsError
from everlearn.learning.examples import Example, encoded
from everlearn.learning.null_space import confine, confinement, input_covariances, null_space, read_layers
from everlearn.learning.sleep_settings import SleepSettings
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.weights import AdapterWeights
from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters
from everlearn.specialists.settings import AdapterSettings, targets
from everlearn.specialists.shelf import AdapterShelf
from learning.training_toys import SHAPE, TEXT, known, task, toy_weights

LEARNT = task("a", ["kp", "qd", "vz", "mm"])
ELSEWHERE = [encoded(TEXT, Example(q, a)) for q, a in (("rain?", "wet"), ("How is the sea?", "blue and wide"))]
FAST = TrainingSettings(epochs=40, batch=4, micro_batch=4, rate=1e-2, save_every=10_000)


def covariances_of(weights, rows=ELSEWHERE):
    return input_covariances(weights.model, targets(weights.model, SHAPE), rows)


def test_covariances_are_the_mean_of_what_single_rows_bring(tmp_path):
    weights = toy_weights(tmp_path)
    inputs = {name: [] for name in targets(weights.model, SHAPE)}
    for row in ELSEWHERE:  # one row alone has no padding
        for name, layer in targets(weights.model, SHAPE).items():
            handle = layer.register_forward_pre_hook(lambda _m, args, n=name: inputs[n].append(args[0][0]))
            ids = torch.tensor([row.prompt + row.answer[:-1]])
            weights.model.forward(ids, weights.model.new_cache())
            handle.remove()
    found = covariances_of(weights)
    assert set(found) == set(inputs)
    for name, several in inputs.items():
        x = torch.cat(several).numpy().astype(np.float64)
        np.testing.assert_allclose(found[name].numpy(), x.T @ x / len(x), rtol=1e-4, atol=1e-5)


def test_the_null_space_is_what_is_used_least():
    basis, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    covariance = (basis * torch.tensor([9.0, 5.0, 3.0, 1e-3, 1e-4, 1e-5])) @ basis.T
    projection = null_space(covariance, 0.5)
    torch.testing.assert_close(projection, basis[:, 3:] @ basis[:, 3:].T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(projection @ projection, projection, atol=1e-5, rtol=1e-5)


def test_what_is_learned_inside_is_hardly_heard_outside(tmp_path):
    def drift(share):
        weights = toy_weights(tmp_path / f"{share}")
        covariances = covariances_of(weights)
        projections = confinement(weights.parameters(), dict(covariances), share) if share < 1 else {}
        confine(weights.parameters(), projections)
        Trainer(weights, TEXT, FAST, projections=projections).train(LEARNT)
        assert known(weights, LEARNT) == 1
        state = weights.adapters.state("new")
        factors = [n for n in state if ".lora_A." in n]
        heard = 0.0
        for name in factors:
            covariance = covariances[name.partition(".lora_A.")[0].removeprefix("base_model.model.")]
            a, b = state[name].float(), state[name.replace("lora_A", "lora_B")].float()
            change = b @ a
            heard += float(((change @ covariance) * change).sum() / (change * change).sum())
            if share < 1:
                torch.testing.assert_close(a @ null_space(covariance, share), a, atol=1e-4, rtol=1e-3)
        return heard / len(factors)

    assert drift(0.5) < drift(1) / 10


def test_a_training_that_was_stopped_goes_on_inside(tmp_path):
    def trained(folder, stop):
        weights = toy_weights(tmp_path / folder)
        projections = confinement(weights.parameters(), covariances_of(weights), 0.5)
        confine(weights.parameters(), projections)
        often = TrainingSettings(**{**FAST.to_dict(), "epochs": 12, "save_every": 2})

        def progress(done, _total):
            if done == stop:
                raise KeyboardInterrupt

        try:
            Trainer(weights, TEXT, often, projections=projections, folder=tmp_path / folder / "t").train(
                LEARNT, progress=progress
            )
        except KeyboardInterrupt:
            return trained(folder, 0)
        return weights.adapters.state("new")

    whole, resumed = trained("whole", 0), trained("resumed", 7)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(SettingsError, match="null_space is"):
        SleepSettings(null_space=share).checked()


@pytest.mark.parametrize("family", ["opt", "gpt2", "gpt_neox", "qwen2_moe"])
@pytest.mark.parametrize("modules", ["mlp", "all"])
def test_other_architectures_find_their_room(tmp_path, family, modules):
    """OPT flattens what it gives its MLP, GPT-2 has layers that are not linear by name, experts see few tokens each."""
    small = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    configs = {
        "opt": lambda: tf.OPTConfig(**small, ffn_dim=48, word_embed_proj_dim=32),
        "gpt2": lambda: tf.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4),
        "gpt_neox": lambda: tf.GPTNeoXConfig(**small, intermediate_size=48),
        "qwen2_moe": lambda: tf.Qwen2MoeConfig(
            **small,
            num_key_value_heads=4,
            intermediate_size=48,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=24,
            num_experts=4,
        ),
    }
    torch.manual_seed(0)
    module = tf.AutoModelForCausalLM.from_config(configs[family](), dtype=torch.float32)
    adapters = Adapters(BaseModel(module, name=family, digest="a" * 64), AdapterShelf(tmp_path / "adapters"))
    adapters.create("new", AdapterSettings(rank=2, alpha=4, modules=modules))
    weights = AdapterWeights(adapters, "new")
    layers = read_layers(weights)
    covariances = input_covariances(weights.model, layers, ELSEWHERE)
    for name, covariance in covariances.items():
        assert covariance.shape == (width := covariance.shape[0], width)
        assert width in {
            p.shape[1] for n, p in weights.parameters().items() if n.startswith(f"base_model.model.{name}.")
        }
    sizes = {name: len(c) for name, c in covariances.items()}
    projections = confinement(weights.parameters(), covariances, 0.5)
    assert covariances == {}
    assert len(projections) == len(sizes) > 0
    confine(weights.parameters(), projections)
    trained = Trainer(weights, TEXT, replace(FAST, epochs=1), projections=projections).train(LEARNT)
    assert trained.steps == 1


def test_layers_that_read_the_same_are_summed_and_solved_once(tmp_path):
    weights = toy_weights(tmp_path)
    covariances = input_covariances(weights.model, read_layers(weights), ELSEWHERE)
    block = {name.rsplit(".", 1)[1]: c for name, c in covariances.items() if ".layers.1." in name}
    assert block["gate_proj"] is block["up_proj"]
    assert block["q_proj"] is block["k_proj"] is block["v_proj"]
    assert block["down_proj"] is not block["gate_proj"]
    assert block["q_proj"] is not block["gate_proj"]
    projections = confinement(weights.parameters(), covariances, 0.5)
    assert len({id(p) for p in projections.values()}) == 4 * weights.model.num_blocks

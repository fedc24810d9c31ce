"""The benchmark of forgetting on a toy model: it resumes at the cell it was killed in, and its figures have sense."""

from __future__ import annotations

import pytest
import torch

from everlearn.corpus.task_streams import Case, Task
from everlearn.errors import InputError
from everlearn.learning import stream_bench
from everlearn.learning.examples import Example, encoded
from everlearn.learning.scoring import exact_answers, perplexity
from everlearn.learning.stream_bench import StreamPlan, chosen_methods, run_stream
from everlearn.learning.stream_methods import METHODS, Bench, StreamSettings
from everlearn.learning.training_settings import TrainingSettings
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from learning.training_toys import SHAPE, TEXT
from toys import ToyEncoder, tiny_module

FAST = TrainingSettings(epochs=25, batch=4, micro_batch=4, rate=1e-2, save_every=1000)
SETTINGS = StreamSettings(FAST, SHAPE, full_rate=3e-3, strength=2.0, kept=4)


def toy_model():
    return BaseModel(tiny_module(), name="toy", digest="a" * 64)


def bench():
    return Bench(toy_model(), TEXT, ToyEncoder().encode, toy_model)


def toy_task(name, answers):
    cases = [Case(f"{name} {name} {n}?", a, f"{name}:{n}") for n, a in enumerate(answers)]
    return Task(name, cases, cases)  # what is measured here is keeping, so the training cases are asked again


TASKS = [toy_task("alpha", ["kp", "qd", "vz", "mm"]), toy_task("bravo", ["xy", "op", "ll", "ck"])]


def plan(folder, methods, seeds=(0,)):
    return StreamPlan(dict.fromkeys(seeds, TASKS), methods, SETTINGS, folder)


@pytest.mark.slow
def test_every_method_has_its_figures(tmp_path):
    seen = []
    report = run_stream(bench(), plan(tmp_path, METHODS), lambda *s: seen.append(s)).to_dict()
    assert set(report["methods"]) == set(METHODS)
    assert report["untrained"] == [0.0, 0.0]
    assert seen[-1] == (14, 14)
    for name, found in report["methods"].items():
        assert {"R", "ACC", "BWT", "FWT", "forgetting", "seconds", "bytes", "intervals", "runs"} <= set(found)
        assert len(found["R"]) == (1 if name == "joint" else 2)
        assert found["seconds"] > 0
    of = report["methods"]
    assert of["sequential_lora"]["BWT"] < 0
    assert of["replay"]["BWT"] > of["sequential_lora"]["BWT"]
    assert of["adapters_router"]["BWT"] == 0
    assert of["adapters_router"]["ACC"] >= of["sequential_lora"]["ACC"]
    assert of["joint"]["BWT"] is None
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


@pytest.mark.parametrize("method", ["replay_ewc", "adapters_router"])
def test_it_goes_on_at_the_cell_it_was_stopped_in(tmp_path, monkeypatch, method):
    whole = run_stream(bench(), plan(tmp_path / "whole", [method])).methods[method]

    real, calls = stream_bench.method_of, []

    def breaks(*args):
        made = real(*args)
        learn = made.learn

        def second_is_killed(*more):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            learn(*more)

        made.learn = second_is_killed
        return made

    monkeypatch.setattr(stream_bench, "method_of", breaks)
    with pytest.raises(KeyboardInterrupt):
        run_stream(bench(), plan(tmp_path / "stopped", [method]))
    again = run_stream(bench(), plan(tmp_path / "stopped", [method])).methods[method]
    assert len(calls) == 3
    assert again["R"] == whole["R"]


def test_methods_leave_the_model_as_it_was(tmp_path):
    made = bench()
    ids = torch.tensor([[1, 2, 3]])
    before = made.model.forward(ids, made.model.new_cache())
    run_stream(made, plan(tmp_path, ["adapters_router", "sequential_lora"]))
    assert torch.equal(made.model.forward(ids, made.model.new_cache()), before)


def test_an_exact_answer_is_what_greedy_decoding_gives():
    model = toy_model()
    for n in range(5):
        row = encoded(TEXT, Example(f"question {n}", "xx"))
        ids, cache, said = row.prompt, KeyValueCache(), []
        for _ in range(2):
            said.append(int(model.forward(torch.tensor([ids]), cache).argmax()))
            ids = said[-1:]
        right = encoded(TEXT, Example(f"question {n}", "xx"))
        right.answer[:] = said
        wrong = encoded(TEXT, Example(f"question {n} and more", "xx"))
        assert exact_answers(model, [wrong, right]) == [False, True]


def test_perplexity_of_a_model_that_knows_nothing_is_about_the_vocabulary():
    model = toy_model()
    for parameter in model.module.parameters():
        parameter.data.zero_()
    assert perplexity(model, list(range(200)), window=64) == pytest.approx(258, rel=1e-3)


def test_names_of_methods():
    assert chosen_methods("all") == list(METHODS)
    assert chosen_methods("ewc, replay") == ["ewc", "replay"]
    with pytest.raises(InputError, match="no method 'magic'"):
        chosen_methods("magic")

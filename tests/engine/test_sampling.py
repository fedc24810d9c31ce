"""Sampling filters equal those of transformers' generate."""

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from everlearn.engine.sampling import Sampler, checked
from everlearn.errors import SettingsError
from everlearn.records import Sampling


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("sampling", "theirs"),
    [
        (Sampling(temperature=0.7), [TemperatureLogitsWarper(0.7)]),
        (Sampling(temperature=1.0, top_k=5), [TopKLogitsWarper(5)]),
        (Sampling(temperature=1.0, top_p=0.6), [TopPLogitsWarper(0.6)]),
        (Sampling(temperature=1.0, min_p=0.2), [MinPLogitsWarper(0.2)]),
        (
            Sampling(temperature=1.3, top_k=20, top_p=0.8, min_p=0.05),
            [TemperatureLogitsWarper(1.3), TopKLogitsWarper(20), TopPLogitsWarper(0.8), MinPLogitsWarper(0.05)],
        ),
    ],
)
def test_filters_equal_transformers(sampling, theirs, seed):
    logits = torch.randn(200, generator=torch.Generator().manual_seed(seed)) * 3
    wanted = logits[None]
    for warper in theirs:
        wanted = warper(torch.zeros(1, 1, dtype=torch.long), wanted)
    torch.testing.assert_close(Sampler(sampling, []).filtered(logits), wanted[0])


@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_repetition_penalty_equals_transformers_and_counts_new_tokens(penalty):
    logits = torch.randn(50)
    sampler = Sampler(Sampling(repetition_penalty=penalty), [3, 4, 4])
    theirs = RepetitionPenaltyLogitsProcessor(penalty)
    torch.testing.assert_close(sampler.penalised(logits), theirs(torch.tensor([[3, 4]]), logits[None])[0])
    token = sampler.choose(logits)
    torch.testing.assert_close(sampler.penalised(logits), theirs(torch.tensor([[3, 4, token]]), logits[None])[0])


def test_a_seed_repeats_and_greedy_is_the_arg_max():
    logits = torch.randn(100)
    draws = [[Sampler(Sampling(temperature=1.0, seed=s), []).choose(logits) for s in range(30)] for _ in range(2)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 3
    assert Sampler(Sampling(), []).choose(logits) == int(logits.argmax())


def test_extreme_filters_always_leave_the_likeliest_token():
    logits = torch.randn(100)
    for sampling in (
        Sampling(temperature=0.01),
        Sampling(temperature=1, top_p=0.0),
        Sampling(temperature=1, min_p=1.0),
    ):
        assert Sampler(sampling, []).choose(logits) == int(logits.argmax())


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 1.5},
        {"top_k": -2},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0},
        {"stop": ("",)},
        {"temperature": "hot"},
        {"temperature": 1e-40},
        {"temperature": True},
        {"top_k": 2.5},
        {"top_k": True},
        {"top_p": None},
        {"max_new_tokens": 2.0},
        {"seed": "x"},
        {"seed": True},
        {"stop": 5},
        {"stop": (5,)},
        {"stop": b"END"},
    ],
)
def test_impossible_settings_are_named(bad):
    with pytest.raises(SettingsError, match=next(iter(bad))):
        checked(Sampling(**bad))


def test_a_lone_stop_string_is_taken_as_one():
    assert checked(Sampling(stop="END")).stop == ("END",)


def test_no_stop_and_no_limit_are_taken():
    assert checked(Sampling(stop=None)).stop == ()
    assert checked(Sampling()).max_new_tokens is None
    with pytest.raises(SettingsError, match="wanted a Sampling"):
        checked({"temperature": 0.5})


def test_the_smallest_temperature_stays_within_float32():
    logits = torch.randn(100) * 1e4
    sampling = checked(Sampling(temperature=1e-3, top_p=0.9, min_p=0.1))
    assert Sampler(sampling, []).choose(logits) == int(logits.argmax())

"""Tiny random models of several families, made in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import transformers as tf

from everlearn.models.base import BaseModel

from .registry import Registry

os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Read before any test: tests get a home of their own.
WEIGHTS_HOME = Path(
    os.environ.get("EVERLEARN_TEST_HOME") or os.environ.get("EVERLEARN_HOME") or Path.home() / ".everlearn"
)

SMALL = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
ROPED = SMALL | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 64}


def _configs() -> dict[str, tf.PretrainedConfig]:
    window = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    return {
        "llama": tf.LlamaConfig(**ROPED),
        "qwen2": tf.Qwen2Config(**ROPED),
        "qwen3": tf.Qwen3Config(**ROPED, head_dim=8),
        "gemma3": tf.Gemma3TextConfig(**ROPED, head_dim=8, **window),
        "gpt2": tf.GPT2Config(
            vocab_size=61, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2
        ),
        "gpt_neox": tf.GPTNeoXConfig(**SMALL, intermediate_size=48, max_position_embeddings=64),
        "opt": tf.OPTConfig(**SMALL, ffn_dim=48, max_position_embeddings=64, word_embed_proj_dim=32),
        "phi": tf.PhiConfig(**SMALL, intermediate_size=48, max_position_embeddings=64, eos_token_id=2, bos_token_id=1),
    }


FAMILIES = ("llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "opt", "phi")


def make_module(family: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    module = tf.AutoModelForCausalLM.from_config(_configs()[family], dtype=torch.float32).eval()
    with torch.no_grad():  # spread the logits, so that greedy choices are far from ties
        for parameter in module.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return module


@pytest.fixture
def tiny():
    def make(family: str) -> BaseModel:
        return BaseModel(make_module(family), name=family, digest="0" * 64)

    return make


@pytest.fixture
def registry(monkeypatch):
    """A function that starts a registry and turns pip to it."""
    started: list[Registry] = []

    def start(wheels: dict[str, bytes]) -> Registry:
        started.append(Registry(wheels))
        use_index(started[0].url)
        return started[0]

    def use_index(url: str) -> None:
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CERT"):
            monkeypatch.delenv(name, raising=False)
        settings = {
            "INDEX_URL": url,
            "CONFIG_FILE": os.devnull,
            "RETRIES": "0",
            "NO_CACHE_DIR": "1",
            "DEFAULT_TIMEOUT": "20",
            "RESUME_RETRIES": "0",  # or pip of 25.1 and later would go on by itself where these tests look at us
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")

    start.use_index = use_index
    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def real_home() -> Path:
    """The EVERLEARN_HOME that keeps real weights from one run to the next."""
    return WEIGHTS_HOME


def pytest_collection_modifyitems(items):
    """Weights of the second family are fetched only for those who ask for it."""
    if os.environ.get("EVERLEARN_TEST_GEMMA") != "1":
        for item in items:
            if item.get_closest_marker("gemma"):
                item.add_marker(pytest.mark.skip(reason="set EVERLEARN_TEST_GEMMA=1"))

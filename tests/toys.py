"""A toy model, a byte tokenizer and a toy encoder: the engine's tests run on them in milliseconds, without weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from everlearn import Learner, wiring
from everlearn.engine.engine import Engine
from everlearn.memory.key import KeyMaker, words
from everlearn.memory.phrase import spans
from everlearn.models.apertis import ApertisConfig, ApertisForCausalLM
from everlearn.models.base import BaseModel
from everlearn.models.encoder import Pieces
from everlearn.records import Lesson
from everlearn.store.in_memory import InMemoryDerivedStore, InMemoryLessonStore
from everlearn.store.port import DerivedStore, LessonStore
from everlearn.text.chat import ChatText

BYTES = 256
EOS, START = BYTES, BYTES + 1
VOCABULARY = BYTES + 2
CHAT = (
    "{% for m in messages %}{{ '<start>' + m['role'] + '\n' + m['content'] + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>assistant\n' }}{% endif %}"
)
FAMILIES = ("llama", "qwen3", "gemma3", "gpt2", "apertis")


def byte_tokenizer(*, chat: bool = True) -> PreTrainedTokenizerFast:
    """Every byte is a token; <end> ends a message, <start> begins one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", additional_special_tokens=["<start>"])
    fast.chat_template = CHAT if chat else None
    return fast


def tiny_module(family: str = "llama", *, seed: int = 0, blocks: int = 4) -> torch.nn.Module:
    """A random causal language model of 32 wide hidden states over the byte vocabulary."""
    torch.manual_seed(seed + (2 if family == "apertis" else 0))  # one that does not say NUL
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "eos_token_id": EOS,
        "bos_token_id": START,
        "pad_token_id": EOS,
        "initializer_range": 0.2,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes))
    if family == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**sizes))
    if family == "gemma3":
        return Gemma3ForCausalLM(Gemma3TextConfig(**sizes, sliding_window=16))
    if family == "apertis":  # a state, a compressed state, keys and values: every way to remember
        kinds = ["linear", "latent", "recurrent", "full"]
        return ApertisForCausalLM(ApertisConfig(**sizes, layer_types=[kinds[n % 4] for n in range(blocks)]))
    assert family == "gpt2"
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=blocks,
            n_head=4,
            n_positions=4096,
            eos_token_id=EOS,
            bos_token_id=START,
            initializer_range=0.2,
        )
    )


class ToyEncoder:
    """Sums a fixed random direction for each word: texts that share words lie near each other."""

    width = 64
    digest = "toy-encoder-0000"
    name = "toy"
    unknown_id = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.stack([self._one(t) for t in texts]) if texts else np.zeros((0, self.width))
        return rows.astype(np.float32)

    def read(self, texts: Sequence[str]) -> list[Pieces]:
        return [self._pieces(text) for text in texts]

    def plain_vectors(self, ids: Sequence[int]) -> np.ndarray:
        rows = [np.random.default_rng(n).standard_normal(self.width) for n in ids]
        return np.stack(rows).astype(np.float32)

    def _pieces(self, text: str) -> Pieces:
        places = spans(text)
        states = [self._one(text[begin:end]) for begin, end in places] or [np.zeros(self.width)]
        return Pieces(
            self.encode([text])[0], np.stack(states).astype(np.float32), places or [(0, 0)], [1] * max(len(places), 1)
        )

    def token_states(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """One piece for each word; a word means the same wherever it stands."""
        found = []
        for text in texts:
            said = words(text)
            ids = np.array([i for word in said for i in self.piece_ids(word)], dtype=np.int64)
            found.append((ids, self.encode(said)))
        return found

    def piece_ids(self, word: str) -> list[int]:
        return [5_000 + int(hashlib.sha256(word.encode()).hexdigest()[:4], 16) % 20_000]

    def _one(self, text: str) -> np.ndarray:
        total = np.full(self.width, 1e-6)
        for word in words(text):
            seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
            total += np.random.default_rng(seed).standard_normal(self.width)
        return total / np.linalg.norm(total)


def toy_parts(family: str = "llama", *, seed: int = 0, chat: bool = True) -> wiring.Parts:
    """Base model, text and keys of a toy engine."""
    module = tiny_module(family, seed=seed)
    model = BaseModel(module, name=f"tiny-{family}", digest=f"{family}{seed}".ljust(64, "0"))
    return wiring.Parts(model, ChatText(byte_tokenizer(chat=chat)), KeyMaker(ToyEncoder()))


def toy_engine(
    family: str = "llama",
    *,
    store: LessonStore | None = None,
    derived: DerivedStore | None = None,
    parts: wiring.Parts | None = None,
) -> Engine:
    """An engine over a toy model; its state is in memory unless stores are given."""
    return wiring.engine_over(
        parts or toy_parts(family), store or InMemoryLessonStore(), derived or InMemoryDerivedStore()
    )


def toy_learner(engine: Engine) -> Learner:
    """A learner without a background thread."""
    return Learner(engine, background=False)


def engine_on_disk(folder: Path, parts: wiring.Parts | None = None) -> Engine:
    """A toy engine whose state is the given folder."""
    settings = wiring.load_settings(home=folder)
    return wiring.engine_over(parts or toy_parts(), wiring.open_store(settings), wiring.open_derived(settings))


def teach_numbered(folder: Path, name: str, count: int) -> None:
    """Teach `count` lessons one by one into a folder: the work of one process among several."""
    engine = engine_on_disk(folder)
    learner = toy_learner(engine)
    for n in range(count):
        learner.teach(Lesson(f"What does {name}{n} say to {name}{n * 7}?", f"{name} {n}"))
    engine.close()

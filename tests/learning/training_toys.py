"""Toy tasks and adapters for the tests of training."""

from __future__ import annotations

from everlearn.learning.examples import Example, encoded
from everlearn.learning.losses import answer_logits, batch_of
from everlearn.learning.weights import AdapterWeights
from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters
from everlearn.specialists.settings import AdapterSettings
from everlearn.specialists.shelf import AdapterShelf
from everlearn.text.chat import ChatText
from toys import byte_tokenizer, tiny_module

TEXT = ChatText(byte_tokenizer())
SHAPE = AdapterSettings(rank=8, alpha=16, modules="all")


def toy_weights(folder, *, seed=0):
    """A fresh adapter over a tiny model."""
    model = BaseModel(tiny_module(), name="toy", digest="a" * 64)
    adapters = Adapters(model, AdapterShelf(folder / "adapters"))
    adapters.create("new", SHAPE, seed=seed)
    return AdapterWeights(adapters, "new")


def task(letter, answers, domain=""):
    """One example for each answer."""
    return [Example(f"{letter}{n}?", a, domain or letter) for n, a in enumerate(answers)]


def known(weights, examples):
    """Share of examples whose answer the adapter gives greedily."""
    rows = [encoded(TEXT, e) for e in examples]
    right = 0
    for row in rows:
        batch = batch_of([row], weights.model.device)
        with weights.adapters.worn([weights.adapter_id]):
            right += answer_logits(weights.model, batch)[0].argmax(-1).tolist() == row.answer
    return right / len(rows)

"""Exact answers, scored in one forward pass instead of a decoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from everlearn.learning.examples import Encoded
from everlearn.learning.losses import IGNORED, answer_logits, answer_logits_alike, batch_of
from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters

Progress = Callable[[int, int], None]
_BATCH = 16


def exact_answers(
    model: BaseModel,
    rows: Sequence[Encoded],
    *,
    adapters: Adapters | None = None,
    worn: Sequence[str | None] = (),
    progress: Progress | None = None,
) -> list[bool]:
    """Whether greedy decoding would give exactly the wanted answer and then stop.

    It does if and only if each wanted token, the stop token included, is the likeliest one behind those before it; so
    one forward pass over prompt and answer tells.

    Args:
        model: is asked.
        rows: what is asked and wanted.
        adapters: the adapters of the model, where rows wear any.
        worn: adapter of each row; empty = none wears any.
        progress: called with (done, all).
    """
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].prompt) + len(rows[n].answer))
    right = [False] * len(rows)
    for first in range(0, len(order), _BATCH):
        places = order[first : first + _BATCH]
        some = [rows[n] for n in places]
        batch = batch_of(some, model.device)
        wearing = [worn[n] for n in places] if adapters is not None and worn else []
        with adapters.worn(wearing) if adapters is not None and wearing else model.lock, torch.inference_mode():
            alike = len(set(wearing)) < 2
            logits = answer_logits_alike(model, some) if alike else answer_logits(model, batch)
            best = logits.argmax(-1)
        hits = ((best == batch.labels) | (batch.labels == IGNORED)).all(1).tolist()
        for place, hit in zip(places, hits, strict=True):
            right[place] = bool(hit)
        if progress is not None:
            progress(first + len(places), len(rows))
    return right


@torch.inference_mode()
def perplexity(model: BaseModel, ids: Sequence[int], *, window: int = 512) -> float:
    """Perplexity of the bare model, or of what it wears, on text cut into windows.

    Args:
        model: reads.
        ids: [T] token ids.
        window: tokens read at once; the first one of each window is only read.
    """
    total, count = 0.0, 0
    for first in range(0, len(ids) - 1, window):
        part = list(ids[first : first + window])
        if len(part) < 2:
            break
        row = Encoded(part[:1], part[1:])
        batch = batch_of([row], model.device)
        logits = answer_logits(model, batch)
        loss = torch.nn.functional.cross_entropy(logits[0], batch.labels[0], reduction="sum")
        total, count = total + float(loss), count + len(part) - 1
    return math.exp(total / max(count, 1))

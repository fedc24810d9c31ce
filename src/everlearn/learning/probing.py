"""Asking a candidate: what it was taught, other wordings, what must not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from everlearn.learning.examples import Encoded
from everlearn.learning.losses import IGNORED, answer_logits_alike, batch_of
from everlearn.models.base import BaseModel
from everlearn.specialists.adapters import Adapters

Progress = Callable[[int, int], None]
_BATCH = 16


@torch.inference_mode()
def drift_of(
    adapters: Adapters, adapter_id: str, rows: Sequence[Encoded], *, progress: Progress | None = None
) -> tuple[list[float], list[float]]:
    """How far an adapter leads away from the base model's own answers.

    Args:
        adapters: where it is loaded.
        adapter_id: which.
        rows: prompts with the base model's own answers.
        progress: called with (done, all).

    Returns:
        For each row the share of steps at which the adapter's likeliest token is that of the base, and the mean of
        KL(base || adapter) in nats.

    Source: that this divergence foretells forgetting: RL's razor, arXiv 2509.04259, section 4.
    """
    model: BaseModel = adapters.model
    agreement: list[float] = []
    drift: list[float] = []
    for first in range(0, len(rows), _BATCH):
        some = rows[first : first + _BATCH]
        with model.lock:
            base = answer_logits_alike(model, some)
        with adapters.worn([adapter_id] * len(some)):
            worn = answer_logits_alike(model, some)
        real = batch_of(some, model.device).labels != IGNORED
        counts = real.sum(1)
        same = ((base.argmax(-1) == worn.argmax(-1)) & real).sum(1) / counts
        logs = functional.log_softmax(base, -1)
        divergence = (logs.exp() * (logs - functional.log_softmax(worn, -1))).sum(-1)
        agreement += same.tolist()
        drift += ((divergence * real).sum(1) / counts).tolist()
        if progress is not None:
            progress(first + len(some), len(rows))
    return agreement, drift

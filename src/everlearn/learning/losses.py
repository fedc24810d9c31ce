"""What is wrong with the model's answers to a batch: cross entropy, or distance from a teacher's distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from everlearn.learning.examples import Encoded, SoftTargets
from everlearn.models.base import BaseModel
from everlearn.models.prefix import logits_behind

IGNORED = -100
_WORTH_SHARING = 8  # tokens


class Batch(NamedTuple):
    """Examples padded on the left, so that all answers end at the same place.

    Attributes:
        ids: [B, T] long.
        mask: [B, T] long, 1 for real tokens.
        labels: [B, A] long, the answer tokens at the last A places; IGNORED before shorter ones.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor


def batch_of(rows: Sequence[Encoded], device: torch.device) -> Batch:
    """Pad examples to one batch; the last answer token is a target only, so it is not read."""
    whole = [row.prompt + row.answer[:-1] for row in rows]
    width, steps = max(map(len, whole)), max(len(row.answer) for row in rows)
    ids = [[0] * (width - len(w)) + w for w in whole]
    mask = [[0] * (width - len(w)) + [1] * len(w) for w in whole]
    labels = [[IGNORED] * (steps - len(row.answer)) + row.answer for row in rows]
    return Batch(*(torch.tensor(values, device=device) for values in (ids, mask, labels)))


def answer_logits(model: BaseModel, batch: Batch) -> Tensor:
    """Logits [B, A, V] float32 at the places that predict the answer tokens; with a gradient where one is collected."""
    steps = batch.labels.shape[1]
    positions = (batch.mask.cumsum(1) - 1).clamp(min=0)
    logits: Tensor = model.logits_of_last(batch.ids, batch.mask, positions, steps)
    return logits.float()


def answer_logits_alike(model: BaseModel, rows: Sequence[Encoded]) -> Tensor:
    """Like `answer_logits`, where all rows wear the same adapter or none: what all begin with is read once."""
    shared = shared_prefix(rows)
    # A sliding window counts places, and padding between the beginning and the rest would move it.
    if len(rows) < 2 or shared < _WORTH_SHARING or not model.sees_all:
        return answer_logits(model, batch_of(rows, model.device))
    behind = batch_of([replace(row, prompt=row.prompt[shared:]) for row in rows], model.device)
    steps = behind.labels.shape[1]
    return logits_behind(model, rows[0].prompt[:shared], behind.ids, behind.mask, steps).float()


def shared_prefix(rows: Sequence[Encoded]) -> int:
    """How many tokens all prompts begin with; at least one of each prompt stays behind them."""
    first, last = min(row.prompt for row in rows), max(row.prompt for row in rows)
    most = min(len(row.prompt) for row in rows) - 1
    return next((n for n in range(most) if first[n] != last[n]), max(most, 0))


def losses_of(model: BaseModel, rows: Sequence[Encoded], *, temperature: float = 1.0, smoothing: float = 0.0) -> Tensor:
    """The loss [B] of each example: mean over its answer tokens. All rows wear the same adapter, or none.

    Args:
        model: computes.
        rows: B examples.
        temperature: of teacher and student where an example has soft targets.
        smoothing: label smoothing where it has none.
    """
    batch = batch_of(rows, model.device)
    logits = answer_logits_alike(model, rows)
    flat = functional.cross_entropy(
        logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="none", label_smoothing=smoothing
    ).view(batch.labels.shape)
    counts = (batch.labels != IGNORED).sum(1)
    hard = flat.sum(1) / counts
    soft = [
        soft_loss(logits[n, -len(row.answer) :], row.soft, temperature) if row.soft is not None else hard[n]
        for n, row in enumerate(rows)
    ]
    return torch.stack(soft) * torch.tensor([row.weight for row in rows], device=model.device)


def soft_loss(logits: Tensor, targets: SoftTargets, temperature: float = 1.0) -> Tensor:
    """KL(teacher || student) averaged over answer steps, times the square of the temperature.

    The teacher's K likeliest tokens are compared one by one, all others as one bucket.

    Args:
        logits: [A, V] float32 of the student.
        targets: of the teacher, at the same temperature.
        temperature: > 0; larger shows more of what the teacher thinks of the other tokens.

    Source: Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network, arXiv 1503.02531, section 2.
    """
    tokens, shares = targets.tokens.to(logits.device).long(), targets.shares.to(logits.device).float()
    log_shares = functional.log_softmax(logits / temperature, dim=-1).gather(1, tokens)
    rest = (1.0 - shares.sum(1, keepdim=True)).clamp(min=1e-6)
    log_rest = torch.log1p(-log_shares.exp().sum(1, keepdim=True).clamp(max=1.0 - 1e-6))
    teacher = torch.cat([shares.clamp(min=1e-8), rest], dim=1)
    student = torch.cat([log_shares, log_rest], dim=1)
    return (teacher * (teacher.log() - student)).sum(1).mean() * temperature**2


@torch.inference_mode()
def soft_targets(logits: Tensor, *, likeliest: int = 16, temperature: float = 1.0) -> SoftTargets:
    """What a teacher's logits [A, V] say, cut to its K likeliest tokens."""
    shares = functional.softmax(logits.float() / temperature, dim=-1)
    top = shares.topk(min(likeliest, shares.shape[1]), dim=-1)
    return SoftTargets(top.indices.int().cpu().clone(), top.values.half().cpu().clone())

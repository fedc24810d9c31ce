"""Values by gradient: corrections fitted to a lesson's answer through the frozen model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from everlearn.memory.correction import CERTAINTY, Correction, kept_part
from everlearn.memory.difference import difference
from everlearn.memory.hook import raw_outputs, replayed, rewritten
from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.records import Message, TableSettings
from everlearn.text.chat import ChatText

STEPS = 30
RATE = 0.3  # of the correction's own size, so that it fits every model and block


def learned(
    model: BaseModel, text: ChatText, prompt: str, answer: str, settings: TableSettings, steps: int = STEPS
) -> Correction:
    """Fit a lesson's correction by Adam, from the difference that reading the lesson makes.

    The loss is the cross-entropy of the answer's tokens, the stop token included, with the answer fed; it ends where
    each of them has the certainty that the output correction gives. Only the vectors that are added move; a sparse
    correction moves in the coordinates that it keeps.

    Args:
        model: base model with D wide hidden states; its weights stay as they are.
        text: its tokenizer and template.
        prompt: the taught question.
        answer: the taught answer.
        settings: `blocks`, `sparsity` and `values` are used; with "learned-at-prompt" one vector for each block is
            added at the prompt's last token, else one at each answer step.
        steps: of the optimiser, at most.

    Raises:
        LessonError: the tokenizer cannot spell the answer.
        SettingsError: the model has no such block.

    Source: "learned-at-prompt" is where GRACE (Hartvigsen et al. 2023, arXiv 2211.11031, section 3) and HoReN (arXiv
        2605.08143) put their value, which they learn in 50 to 100 steps; the start and the stop token are ours.
    """
    start = difference(model, text, prompt, answer, settings)
    if not start.blocks:
        return start
    length = 1 if settings.values == "learned-at-prompt" else len(start.tokens)
    first = {block: steps_[:length].clone() for block, steps_ in start.blocks.items()}
    ids = text.prompt_ids([Message("user", prompt)])
    fed = torch.tensor([[ids[-1], *start.tokens[:-1]]], device=model.device)
    found = _fit(model, _Reading.of(model, ids[:-1], fed, min(first) + 1), start.tokens, first, steps)
    return Correction(start.tokens, {block: kept_part(delta, settings.sparsity) for block, delta in found.items()})


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read again at every step: tokens [1, A] behind a cached prompt, the lower blocks' outputs known."""

    prefix: KeyValueCache
    fed: Tensor
    below: Sequence[Any]

    @classmethod
    def of(cls, model: BaseModel, prompt: list[int], fed: Tensor, below: int) -> _Reading:
        """Read the prompt once, and `fed` once for what the first `below` blocks put out."""
        prefix = model.new_cache()
        with torch.no_grad(), model.lock:  # not inference mode: gradients will flow past these tensors
            if prompt:
                model.traced(torch.tensor([prompt], device=model.device), prefix, 1)
            with raw_outputs(model.blocks[:below]) as outputs:
                model.traced(fed, prefix.copy(), 1)
        return cls(prefix, fed, outputs)


def _fit(
    model: BaseModel, reading: _Reading, tokens: Sequence[int], first: Mapping[int, Tensor], steps: int
) -> dict[int, Tensor]:
    """Move the deltas [S, D] of each block until what is read predicts `tokens` [A]."""
    masks = {block: (delta != 0).to(model.device) for block, delta in first.items()}
    moving = {block: delta.to(model.device).requires_grad_() for block, delta in first.items()}
    groups = [{"params": [d], "lr": RATE * float(d.detach().square().mean().sqrt())} for d in moving.values()]
    adam, wanted = torch.optim.Adam(groups), torch.tensor(tokens, device=model.device)

    def add(block: int, hidden: Tensor) -> Tensor:
        delta = (moving[block] * masks[block]).to(hidden.dtype)
        return hidden + torch.nn.functional.pad(delta, (0, 0, 0, hidden.shape[1] - len(delta)))

    for _ in range(steps):
        with torch.enable_grad():
            with (
                model.lock,
                replayed(model.blocks, reading.below),
                rewritten(model.blocks, tuple(moving), add),
            ):
                logits = model.traced(reading.fed, reading.prefix.copy(), len(tokens))[0]
            losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
            if losses.max() <= -math.log(CERTAINTY):
                break  # what goes beyond would make the answer stubborn, and a graded residual meaningless
            adam.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
    return {block: (delta.detach() * masks[block]) for block, delta in moving.items()}

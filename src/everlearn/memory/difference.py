"""Values without a gradient: what reading the lesson changes in the residual stream."""

from __future__ import annotations

import torch
from torch import Tensor

from everlearn.memory.correction import Correction, chosen_blocks, kept_part, told_ids
from everlearn.memory.hook import recorded, rewritten
from everlearn.models.base import BaseModel
from everlearn.records import Message, TableSettings
from everlearn.text.chat import ChatText


def difference(model: BaseModel, text: ChatText, prompt: str, answer: str, settings: TableSettings) -> Correction:
    """Compute a lesson's correction in two forward passes.

    At each answer step: hidden state with the lesson in context minus hidden state without it. Where several blocks
    are corrected, each takes what the ones below it left to do; their plain differences would add the same change
    again and again (docs/parameters.md).

    Args:
        model: base model with D wide hidden states.
        text: its tokenizer and template.
        prompt: the taught question.
        answer: the taught answer.
        settings: `blocks` and `sparsity` are used.

    Raises:
        LessonError: the tokenizer cannot spell the answer.
        SettingsError: the model has no such block.
    """
    tokens = text.answer_ids(answer)
    which = chosen_blocks(settings, model.num_blocks)
    made: dict[int, Tensor] = {}
    if not which:
        return Correction(tuple(tokens), made)
    steps = len(tokens)
    told = _forward_ids(model, told_ids(text, prompt, prompt, answer), tokens)
    untold = _forward_ids(model, text.prompt_ids([Message("user", prompt)]), tokens)
    with model.lock, recorded(model.blocks, which) as wanted:
        model.forward(told, model.new_cache())

    def shift(block: int, hidden: Tensor) -> Tensor:
        missing = wanted[block][0, -steps:].float() - hidden[0, -steps:].float()
        made[block] = kept_part(missing, settings.sparsity)
        out = hidden.clone()
        out[0, -steps:] += made[block].to(device=hidden.device, dtype=hidden.dtype)
        return out

    with model.lock, rewritten(model.blocks, which, shift):
        model.forward(untold, model.new_cache())
    return Correction(tuple(tokens), made)


def _forward_ids(model: BaseModel, prompt: list[int], tokens: list[int]) -> Tensor:
    """Ids [1, T] whose last A positions predict the A answer tokens."""
    return torch.tensor([prompt + tokens[:-1]], device=model.device)

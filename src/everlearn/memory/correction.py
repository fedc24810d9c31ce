"""Corrections: what a lesson adds to the residual stream, and how its answer's tokens are raised at the output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import safetensors.torch
import torch
from torch import Tensor

from everlearn.errors import SettingsError
from everlearn.memory.hook import recorded
from everlearn.models.base import BaseModel
from everlearn.records import Message, TableSettings
from everlearn.text.chat import ChatText

CERTAINTY = 0.999
_DEFAULT_DEPTH = 5 / 6
_FORM = 1  # raise it when what is computed or stored below changes: kept corrections are then made anew


@final
@dataclass(frozen=True, slots=True)
class Correction:
    """The value of an entry.

    Attributes:
        tokens: [A], the answer's tokens, the stop token last.
        blocks: block -> [A, D], what to add at each answer step.
    """

    tokens: tuple[int, ...]
    blocks: Mapping[int, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(t.nbytes for t in self.blocks.values())


def chosen_blocks(settings: TableSettings, num_blocks: int) -> tuple[int, ...]:
    """Blocks that get a correction, counted from 0; by default one, five sixths up (25 of 30).

    Source: measured on SmolLM2-135M-Instruct: late corrections carry a lesson to a paraphrase, early ones do not
    (docs/decisions/0003).

    Raises:
        SettingsError: the model has no such block.
    """
    if not settings.blocks:
        return (min(math.floor(num_blocks * _DEFAULT_DEPTH), num_blocks - 1),)
    for block in settings.blocks:
        if not -num_blocks <= block < num_blocks:
            raise SettingsError(
                f"The table corrects block {block}; this model has the blocks 0 to {num_blocks - 1}.",
                hint=f"Set the table's blocks anew; -1 is the last one, {-num_blocks} the first.",
            )
    return tuple(sorted({block % num_blocks for block in settings.blocks}))


def kind_of(model: BaseModel, settings: TableSettings) -> str:
    """Name under which corrections of this model and these settings are kept."""
    blocks = ",".join(map(str, chosen_blocks(settings, model.num_blocks)))
    return f"correction/{_FORM}/{model.digest[:16]}/{model.dtype}/{blocks}/{settings.sparsity:g}"


def compute(model: BaseModel, text: ChatText, prompt: str, answer: str, settings: TableSettings) -> Correction:
    """Compute a lesson's correction in two forward passes, without a gradient.

    At each answer step: hidden state with the lesson in context minus hidden state without it.

    Args:
        model: base model with D wide hidden states.
        text: its tokenizer and template.
        prompt: the taught question.
        answer: the taught answer.
        settings: `blocks` and `sparsity` are used.

    Raises:
        LessonError: the tokenizer cannot spell the answer.
    """
    tokens = text.answer_ids(answer)
    which = chosen_blocks(settings, model.num_blocks)
    with_it = told_ids(text, prompt, prompt, answer)
    without = text.prompt_ids([Message("user", prompt)])
    told, untold = (_answer_states(model, ids, tokens, which) for ids in (with_it, without))
    return Correction(tuple(tokens), {b: _sparse(told[b] - untold[b], settings.sparsity) for b in which})


def told_ids(text: ChatText, question: str, prompt: str, answer: str) -> list[int]:
    """Tokens [T] of a question with the lesson in context."""
    return text.prompt_ids([Message("user", f"{prompt}\n{answer}\n\n{question}")])


def _answer_states(model: BaseModel, prompt: list[int], tokens: list[int], which: Sequence[int]) -> dict[int, Tensor]:
    """Hidden states [A, D] float32 behind each block, at the positions that predict each answer token."""
    ids = torch.tensor([prompt + tokens[:-1]], device=model.device)
    with model.lock, recorded(model.blocks, which) as states:
        model.forward(ids, model.new_cache())
    return {b: states[b][0, len(prompt) - 1 :].float() for b in which}


def _sparse(dense: Tensor, sparsity: float) -> Tensor:
    """Keep the largest share of coordinates of each step [A, D]; the rest is 0."""
    dense = dense.bfloat16().float().cpu()  # what is kept on disk and what is computed now must be the same bits
    if sparsity >= 1.0:
        return dense
    keep = max(1, round(dense.shape[1] * sparsity))
    index = dense.abs().topk(keep, dim=1).indices
    return torch.zeros_like(dense).scatter(1, index, dense.gather(1, index))


def to_bytes(correction: Correction, settings: TableSettings) -> bytes:
    """Pack as safetensors: tokens, and for each block bfloat16 values, with their coordinates where they are sparse."""
    tensors = {"tokens": torch.tensor(correction.tokens, dtype=torch.int32)}
    for block, dense in correction.blocks.items():
        if settings.sparsity >= 1.0:
            tensors[f"block.{block}"] = dense.bfloat16().contiguous()
            continue
        keep = max(1, round(dense.shape[1] * settings.sparsity))
        index = dense.abs().topk(keep, dim=1).indices
        tensors[f"block.{block}.index"] = index.to(torch.int32)
        tensors[f"block.{block}.value"] = dense.gather(1, index).bfloat16().contiguous()
    return safetensors.torch.save(tensors, {"width": str(next(iter(correction.blocks.values())).shape[1])})


def from_bytes(packed: bytes, width: int) -> Correction:
    """Unpack what `to_bytes` made; `width` is D.

    Raises:
        ValueError: the bytes are damaged, or of another width.
    """
    try:
        tensors = safetensors.torch.load(packed)
    except Exception as cause:  # safetensors raises its own type, which is not an Exception subclass with a stable name
        raise ValueError(f"kept correction is damaged: {cause}") from cause
    blocks: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "tokens":
            continue
        block = int(name.split(".")[1])
        if name.endswith(".index"):
            value = tensors[f"block.{block}.value"].float()
            blocks[block] = torch.zeros(len(value), width).scatter(1, tensor.long(), value)
        elif not name.endswith(".value"):
            blocks[block] = tensor.float()
    if any(t.shape[1] != width for t in blocks.values()):
        raise ValueError(f"kept correction is not {width} wide")
    return Correction(tuple(tensors["tokens"].tolist()), blocks)


def raise_target(logits: Tensor, target: int, residual: float, certainty: float = CERTAINTY) -> Tensor:
    """The output correction: raise the wanted token in proportion to `residual`.

    The token's log-odds against all others together move from the model's own (residual 0) to those of `certainty`
    (residual 1), or stay where the model is surer than that. So a taught answer survives sampling at any sensible
    temperature, not only greedy decoding; "just above the best rival" would leave it a coin toss (docs/decisions/0003).

    Args:
        logits: [V] float32.
        target: token to raise.
        residual: 0..1.
        certainty: probability of the token at residual 1 and temperature 1.

    Returns:
        New logits [V]; all other tokens keep theirs.
    """
    others = logits.clone()
    others[target] = -torch.inf
    rivals = torch.logsumexp(others, 0)
    own = logits[target] - rivals
    wanted = torch.clamp(own, min=math.log(certainty / (1.0 - certainty)))
    others[target] = rivals + torch.lerp(own, wanted, residual)
    return others

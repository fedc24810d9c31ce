"""Corrections: what a lesson adds to the residual stream, and how its answer's tokens are raised at the output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from everlearn.errors import SettingsError
from everlearn.models.base import BaseModel
from everlearn.records import Message, TableSettings
from everlearn.text.chat import ChatText

CERTAINTY = 0.999
_DEFAULT_DEPTH = 5 / 6
_FORM = 2  # raise it when what is computed or stored below changes: kept corrections are then made anew


@final
@dataclass(frozen=True, slots=True)
class Correction:
    """The value of an entry.

    Attributes:
        tokens: [A], the answer's tokens, the stop token last.
        blocks: block -> [S, D], what to add at the first S of the A answer steps.
    """

    tokens: tuple[int, ...]
    blocks: Mapping[int, Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(t.nbytes for t in self.blocks.values())


def chosen_blocks(settings: TableSettings, num_blocks: int) -> tuple[int, ...]:
    """Blocks that get a correction, counted from 0, rising; by default one, five sixths up (25 of 30).

    Source: measured on SmolLM2-135M-Instruct: late corrections carry a lesson to a paraphrase, early ones do not
    (docs/decisions/0003).

    Raises:
        SettingsError: the model has no such block.
    """
    if not settings.sparsity:
        return ()
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
    return (
        f"correction/{_FORM}/{settings.values}/{model.digest[:16]}/{model.number_format}/{blocks}/{settings.sparsity:g}"
    )


def told_ids(text: ChatText, question: str, prompt: str, answer: str) -> list[int]:
    """Tokens [T] of a question with the lesson in context."""
    return text.prompt_ids([Message("user", f"{prompt}\n{answer}\n\n{question}")])


def kept_part(dense: Tensor, sparsity: float) -> Tensor:
    """What is stored of a correction [S, D]: the largest share of each step's coordinates in bfloat16; the rest is 0.

    Returns:
        [S, D] float32 on the CPU, the same bits that `from_bytes` gives back.
    """
    dense = dense.bfloat16().float().cpu()
    if sparsity >= 1.0:
        return dense
    return torch.where(_largest(dense, sparsity), dense, 0.0)


def to_bytes(correction: Correction, settings: TableSettings) -> bytes:
    """Pack as safetensors: tokens, and for each block bfloat16 values, with a bit for each coordinate where sparse."""
    tensors = {"tokens": torch.tensor(correction.tokens, dtype=torch.int32)}
    for block, dense in correction.blocks.items():
        if settings.sparsity >= 1.0:
            tensors[f"block.{block}"] = dense.bfloat16().contiguous()
            continue
        held = _largest(dense, settings.sparsity)
        tensors[f"block.{block}.held"] = torch.from_numpy(np.packbits(held.numpy(), axis=1))
        tensors[f"block.{block}.value"] = dense[held].reshape(len(dense), -1).bfloat16()
    return safetensors.torch.save(tensors)


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
        if name == "tokens" or name.endswith(".value"):
            continue
        block = int(name.split(".")[1])
        sparse = name.endswith(".held")
        blocks[block] = _spread(tensor, tensors[f"block.{block}.value"], width) if sparse else tensor.float()
    if any(t.shape[1] != width for t in blocks.values()):
        raise ValueError(f"kept correction is not {width} wide")
    return Correction(tuple(tensors["tokens"].tolist()), blocks)


def _largest(dense: Tensor, sparsity: float) -> Tensor:
    """Which coordinates [S, D] are stored: the same number for each step, the largest."""
    keep = max(1, round(dense.shape[1] * sparsity))
    index = dense.abs().topk(keep, dim=1).indices
    return torch.zeros_like(dense, dtype=torch.bool).scatter(1, index, value=True)


def _spread(bits: Tensor, values: Tensor, width: int) -> Tensor:
    """Values [S, kept] back at the coordinates that the bits [S, ceil(D / 8)] name: [S, D] float32."""
    if bits.shape[1] != -(-width // 8):
        raise ValueError(f"kept correction is not {width} wide")
    held = torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=width)).bool()
    return torch.zeros(len(bits), width).masked_scatter(held, values.float())


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

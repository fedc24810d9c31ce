"""The hook into a block: the only place where taught memory touches the base model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def corrected(blocks: Sequence[nn.Module], corrections: Mapping[int, Tensor], rows: Sequence[int]) -> Iterator[None]:
    """Within this context, add corrections to what the given blocks put into the residual stream.

    Without corrections no hook is registered at all, and rows that are not named keep their bits: the model is the
    bare model.

    Args:
        blocks: the model's decoder blocks; each returns hidden states [B, T, D], or a tuple that starts with them.
        corrections: block -> [N, D], added at the last position of each of the N rows.
        rows: [N], which rows of the batch.
    """
    with ExitStack() as stack:
        for block, correction in corrections.items():
            handle = blocks[block].register_forward_hook(partial(_add, correction=correction, rows=list(rows)))
            stack.callback(handle.remove)
        yield


@contextmanager
def recorded(blocks: Sequence[nn.Module], which: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Within this context, keep what the given blocks put out: block -> hidden states [B, T, D] of the last forward."""
    kept: dict[int, Tensor] = {}

    def keep(_module: nn.Module, _inputs: object, output: Any, *, block: int) -> None:  # noqa: ANN401
        kept[block] = output[0] if isinstance(output, tuple) else output

    with ExitStack() as stack:
        for block in which:
            stack.callback(blocks[block].register_forward_hook(partial(keep, block=block)).remove)
        yield kept


def _add(_module: nn.Module, _inputs: object, output: Any, *, correction: Tensor, rows: list[int]) -> Any:  # noqa: ANN401
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    changed = hidden.clone()
    at = torch.tensor(rows, device=hidden.device)
    changed[at, -1] += correction.to(device=hidden.device, dtype=hidden.dtype)
    return (changed, *output[1:]) if isinstance(output, tuple) else changed

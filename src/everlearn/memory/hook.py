"""The hook into a block: the only place where taught memory touches the base model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from everlearn.models.blocks import hidden_of


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
    at = list(rows)

    def add(block: int, hidden: Tensor) -> Tensor:
        out = hidden.clone()
        out[at, -1] += corrections[block].to(device=hidden.device, dtype=hidden.dtype)
        return out

    with rewritten(blocks, tuple(corrections), add):
        yield


@contextmanager
def rewritten(
    blocks: Sequence[nn.Module], which: Sequence[int], change: Callable[[int, Tensor], Tensor]
) -> Iterator[None]:
    """Within this context, hidden states [B, T, D] of the named blocks are `change(block, hidden)` of what they were.

    A lower block is changed before a higher one reads it.
    """
    with ExitStack() as stack:
        for block in which:
            stack.callback(blocks[block].register_forward_hook(partial(_rewrite, block=block, change=change)).remove)
        yield


@contextmanager
def recorded(blocks: Sequence[nn.Module], which: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Within this context, keep what the given blocks put out: block -> hidden states [B, T, D] of the last forward."""
    kept: dict[int, Tensor] = {}

    def keep(block: int, hidden: Tensor) -> Tensor:
        kept[block] = hidden
        return hidden

    with rewritten(blocks, which, keep):
        yield kept


@contextmanager
def replayed(blocks: Sequence[nn.Module], outputs: Sequence[Any]) -> Iterator[None]:
    """Within this context, the first blocks do not compute but give back what they put out before.

    For reading the same tokens again and again while only something above changes. Their attention caches are not
    written, so the cache that is read with must be thrown away afterwards.

    Args:
        blocks: the model's decoder blocks.
        outputs: what each of the first blocks returned, a tensor or a tuple, as `raw_outputs` records it.
    """
    replaced: list[Any] = list(blocks[: len(outputs)])
    try:
        for block, output in zip(replaced, outputs, strict=True):
            block.forward = partial(_same, output)
        yield
    finally:
        for block in replaced:
            vars(block).pop("forward", None)


@contextmanager
def raw_outputs(blocks: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Within this context, note what each of the given blocks returns, for `replayed`."""
    kept: list[Any] = []
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_hook(lambda _m, _i, output: kept.append(output)).remove)
        yield kept


def _same(output: Any, *_: object, **__: object) -> Any:  # noqa: ANN401
    return output


def _rewrite(
    _module: nn.Module,
    _inputs: object,
    output: Any,  # noqa: ANN401 -- a tensor or a tuple that starts with one
    *,
    block: int,
    change: Callable[[int, Tensor], Tensor],
) -> Any:  # noqa: ANN401
    hidden = change(block, hidden_of(output))
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

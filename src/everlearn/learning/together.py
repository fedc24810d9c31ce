"""Processes that train together, each on a part of the rows: data-parallel under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor, nn


@final
@dataclass(frozen=True, slots=True)
class Together:
    """One of several processes.

    Attributes:
        rank: which one; 0 writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def mine(self, rows: Tensor) -> Tensor:
        """This process's part of rows [B, ...]: each size-th one."""
        return rows[self.rank :: self.size]

    def summed(self, value: float) -> float:
        """The sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message for each number format."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:  # nothing of this process's rows reached it, something of another's may have
                parameter.grad = torch.zeros_like(parameter)
        kinds = {p.grad.dtype for p in parameters if p.grad is not None}
        for kind in sorted(kinds, key=str):
            grads = [p.grad for p in parameters if p.grad is not None and p.grad.dtype == kind]
            flat = torch.cat([grad.flatten() for grad in grads])
            dist.all_reduce(flat)
            for grad, part in zip(grads, torch.split(flat, [g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[Together]:
    """Join the processes that torchrun started; alone where there are none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Together()
        return
    dist.init_process_group("gloo")
    try:
        yield Together(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()

"""Figures of continual learning, from the matrix of scores R.

R[i][j] is the score on task j after training on tasks 0..i, in per cent; b[j] is that of the untrained model. T tasks.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class ContinualScores:
    """What became of a stream of tasks.

    Attributes:
        accuracy: ACC, mean of the last row.
        backward_transfer: BWT; negative = forgetting. None for a single task or a single row (joint training).
        forward_transfer: FWT, how much better a task is before it was trained than untrained.
        forgetting: how far below its best before the end each task ended.
        learning_accuracy: mean of the diagonal: how well each task was learned at its turn.
    """

    accuracy: float
    backward_transfer: float | None
    forward_transfer: float | None
    forgetting: float | None
    learning_accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """Under the usual short names."""
        names = {"accuracy": "ACC", "backward_transfer": "BWT", "forward_transfer": "FWT"}
        return {names.get(name, name): value for name, value in asdict(self).items()}


def scores_of(matrix: Matrix, untrained: Sequence[float]) -> ContinualScores:
    """All figures of a stream.

    Args:
        matrix: R, [T, T]; or one row [1, T] where all tasks were trained at once.
        untrained: b, [T].
    """
    tasks = len(untrained)
    assert matrix and all(len(row) == tasks for row in matrix), "R must have a column for each task"
    if len(matrix) == 1:
        return ContinualScores(accuracy(matrix), None, None, None, None)
    assert len(matrix) == tasks, f"R has {len(matrix)} rows for {tasks} tasks"
    return ContinualScores(
        accuracy(matrix),
        backward_transfer(matrix),
        forward_transfer(matrix, untrained),
        forgetting(matrix),
        learning_accuracy(matrix),
    )


def accuracy(matrix: Matrix) -> float:
    """ACC = mean over j of R[T, j].

    Source: Lopez-Paz and Ranzato 2017, Gradient episodic memory, arXiv 1706.08840, section 2.
    """
    return statistics.fmean(matrix[-1])


def backward_transfer(matrix: Matrix) -> float:
    """BWT = mean over j < T of R[T, j] - R[j, j].

    Source: Lopez-Paz and Ranzato 2017, arXiv 1706.08840, section 2.
    """
    return statistics.fmean(matrix[-1][j] - matrix[j][j] for j in range(len(matrix) - 1))


def forward_transfer(matrix: Matrix, untrained: Sequence[float]) -> float:
    """FWT = mean over j >= 2 of R[j - 1, j] - b[j].

    Source: Lopez-Paz and Ranzato 2017, arXiv 1706.08840, section 2.
    """
    return statistics.fmean(matrix[j - 1][j] - untrained[j] for j in range(1, len(matrix)))


def forgetting(matrix: Matrix) -> float:
    """Mean over j < T of the best R[t, j] with t < T, minus R[T, j].

    The last row does not count for the best, so a task that got better at the end has a negative part.

    Source: Chaudhry et al. 2018, Riemannian walk, arXiv 1801.10112, section 3.
    """
    last = len(matrix) - 1
    return statistics.fmean(max(row[j] for row in matrix[:last]) - matrix[last][j] for j in range(last))


def learning_accuracy(matrix: Matrix) -> float:
    """Mean over j of R[j, j].

    Source: Riemer et al. 2019, Meta-experience replay, arXiv 1810.11910, section 5.
    """
    return statistics.fmean(matrix[j][j] for j in range(len(matrix)))


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean of several seeds, and half the width of its 95 % interval (Student's t); 0 for a single one."""
    quantiles = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
    count = len(values)
    if count < 2:
        return statistics.fmean(values), 0.0
    t = quantiles[min(count - 2, len(quantiles) - 1)]
    return statistics.fmean(values), t * statistics.stdev(values) / count**0.5

"""What earlier tasks need of the weights: their anchor, and how much each weight mattered (diagonal Fisher)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from everlearn.errors import FileFormatError, SettingsError
from everlearn.learning.examples import Encoded
from everlearn.learning.losses import losses_of
from everlearn.learning.tensor_files import load_tensors, save_tensors
from everlearn.learning.weights import TrainableWeights, copied

Progress = Callable[[int, int], None]
_FISHER, _POINT = "fisher/", "anchor/"


def fisher(
    weights: TrainableWeights, rows: Sequence[Encoded], *, progress: Progress | None = None
) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information: the mean over examples of the squared gradient.

    The gradient of one example at a time is squared. Squaring a batch's mean instead lets examples that pull in
    opposite directions cancel out, and makes everything too small.

    Args:
        weights: at the values where the task was learned.
        rows: examples of that task.
        progress: called with (done, all).

    Returns:
        Name -> [the weight's shape] float32.

    Raises:
        SettingsError: no example.

    Source: Kirkpatrick et al. 2017, Overcoming catastrophic forgetting, arXiv 1612.00796, section 2.
    """
    if not rows:
        raise SettingsError("The Fisher information of no example was asked for.", hint="Give at least one.")
    parameters = weights.parameters()
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    for done, row in enumerate(rows, start=1):
        with weights.on():
            gradients = torch.autograd.grad(losses_of(weights.model, [row]).sum(), list(parameters.values()))
        for total, gradient in zip(sums.values(), gradients, strict=True):
            total.add_(gradient.float().square())
        if progress is not None:
            progress(done, len(rows))
    return {name: total / len(rows) for name, total in sums.items()}


@final
class Anchor:
    """Holds weights near where earlier tasks left them, each as firmly as it mattered.

    The Fisher information is scaled to a mean of 1, so that `strength` means the same for every model and loss.

    Args:
        point: name -> weight when the last task ended.
        information: name -> Fisher information of all tasks so far.
    """

    def __init__(self, point: Mapping[str, Tensor], information: Mapping[str, Tensor]) -> None:
        self.point, self.information = dict(point), dict(information)
        count = sum(t.numel() for t in self.information.values())
        mean = sum(float(t.double().sum()) for t in self.information.values()) / max(count, 1)
        self._scale = 1.0 / mean if mean > 0 else 0.0

    def penalty(self, parameters: Mapping[str, nn.Parameter]) -> Tensor:
        """Half the sum of information * (weight - anchor)^2, information having a mean of 1.

        Source: Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3.
        """
        parts = [
            (self.information[name] * (p.float() - self.point[name].float()).square()).sum()
            for name, p in parameters.items()
        ]
        return 0.5 * self._scale * torch.stack(parts).sum()

    def then(self, weights: TrainableWeights, found: Mapping[str, Tensor], *, decay: float = 0.9) -> Anchor:
        """The anchor after one more task: information of old tasks fades by `decay`, that of the new one is added.

        Source: online EWC, Schwarz et al. 2018, Progress and compress, arXiv 1805.06370, section 4.1.
        """
        summed = {name: decay * self.information[name] + t for name, t in found.items()}
        return Anchor(copied(weights.parameters()), summed)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            StoreFullError: it cannot be written; an older file stays as it was.
        """
        tensors = {_FISHER + n: t.cpu().contiguous() for n, t in self.information.items()}
        tensors |= {_POINT + n: t.cpu().contiguous() for n, t in self.point.items()}
        save_tensors(path, tensors)

    @classmethod
    def load(cls, path: Path) -> Anchor:
        """Read what `save` wrote.

        Raises:
            FileFormatError: damaged.
        """
        tensors = load_tensors(path)[0]
        parts = {
            start: {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            for start in (_FISHER, _POINT)
        }
        if parts[_FISHER].keys() != parts[_POINT].keys() or not parts[_POINT]:
            raise FileFormatError(f"{path} holds no anchor.", hint="Use another copy.")
        return cls(parts[_POINT], parts[_FISHER])


def first_anchor(weights: TrainableWeights, found: Mapping[str, Tensor]) -> Anchor:
    """The anchor after the first task."""
    return Anchor(copied(weights.parameters()), found)

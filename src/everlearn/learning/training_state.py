"""A training on disk: weights, optimizer and step, so that it goes on after `kill -9` with the very same losses.

Batches, replay and rates are functions of the seed and the step alone, so no generator's state has to be kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from everlearn.errors import FileFormatError
from everlearn.learning.tensor_files import load_tensors, save_tensors

FORM = 1
_KEYS = ("exp_avg", "exp_avg_sq")


@final
@dataclass(slots=True)
class Standing:
    """How far a training is.

    Attributes:
        step: updates done.
        loss: of the last one.
        best: lowest validation loss so far.
        waited: evaluations since then.
        best_weights: weights at `best`; empty while none is kept.
    """

    step: int = 0
    loss: float = float("nan")
    best: float = float("inf")
    waited: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)


def save_state(
    path: Path,
    fingerprint: str,
    standing: Standing,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state, whole or not at all.

    Args:
        path: the file.
        fingerprint: of examples, replay and settings; another training refuses the file.
        standing: how far it is.
        parameters: weights by name.
        optimizer: AdamW over these weights.

    Raises:
        StoreFullError: it cannot be written; the older state stays.
    """
    tensors = {f"weights/{n}": p.detach() for n, p in parameters.items()}
    tensors |= {f"best/{n}": t for n, t in standing.best_weights.items()}
    for name, parameter in parameters.items():
        kept = optimizer.state.get(parameter, {})
        tensors |= {f"{key}/{name}": kept[key] for key in _KEYS if key in kept}
    about = {"form": FORM, "fingerprint": fingerprint, "step": standing.step, "waited": standing.waited}
    ready = {n: t.cpu().contiguous() for n, t in tensors.items()}
    save_tensors(
        path, ready, {"training": json.dumps({**about, "best": repr(standing.best), "loss": repr(standing.loss)})}
    )


def load_state(
    path: Path, fingerprint: str, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Standing | None:
    """Set weights and optimizer to a kept state.

    Returns:
        How far it was; None where there is no file, or one of another training: then nothing is changed.

    Raises:
        FileFormatError: damaged, or of a newer version.
    """
    if not path.exists():
        return None
    tensors, said = load_tensors(path)
    try:
        about: dict[str, Any] = json.loads(said["training"])
        if about["form"] > FORM:
            raise FileFormatError(f"{path} has form {about['form']}, newer than {FORM}.", hint="Update everlearn.")
        if about["fingerprint"] != fingerprint:
            return None
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"weights/{name}"])
                moments = {key: tensors[f"{key}/{name}"].to(parameter.device) for key in _KEYS if about["step"]}
                if moments:
                    optimizer.state[parameter] = {"step": torch.tensor(float(about["step"])), **moments}
    except (KeyError, ValueError, TypeError) as cause:
        raise FileFormatError(
            f"{path} holds no training: {cause!r}.", hint="Delete it: training begins anew."
        ) from cause
    best = {n.removeprefix("best/"): t for n, t in tensors.items() if n.startswith("best/")}
    return Standing(int(about["step"]), float(about["loss"]), float(about["best"]), int(about["waited"]), best)

"""How a training goes: everything that its outcome depends on besides the examples."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import torch

from everlearn.errors import SettingsError
from everlearn.learning.replay import Draw
from everlearn.learning.schedule import Shape, rate_at


@final
@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of the trainer.

    Attributes:
        epochs: how often each new example is seen.
        batch: new examples of one update.
        micro_batch: examples that are computed at once; gradients of the others are accumulated.
        rate: learning rate of AdamW.
        schedule: "cosine", "wsd" or "constant".
        warm_up: share of the updates over which the rate rises.
        clip: largest norm of a gradient; 0 = off.
        weight_decay: of AdamW.
        replay_share: replayed examples of one update for each new one: 1 = 50/50, 0.02 = 2 %, 0 = none.
        replay_draw: "importance", "reservoir" or "recent".
        strength: of the pull to the anchor (EWC); 0 = off.
        temperature: of soft targets.
        smoothing: label smoothing of hard targets.
        patience: evaluations without a better validation loss after which it stops; 0 = never.
        evaluate_every: updates between two validations; 0 = once an epoch.
        save_every: updates between two states on disk.
        precision: "model" computes in the base model's format (weights of an adapter are float32 in any case);
            "bf16" in bfloat16 where the base is float32.
        seed: orders the examples and draws the replay.
    """

    epochs: int = 3
    batch: int = 16
    micro_batch: int = 8
    rate: float = 3e-4
    schedule: Shape = "cosine"
    warm_up: float = 0.05
    clip: float = 1.0
    weight_decay: float = 0.0
    replay_share: float = 1.0
    replay_draw: Draw = "importance"
    strength: float = 0.0
    temperature: float = 1.0
    smoothing: float = 0.0
    patience: int = 0
    evaluate_every: int = 0
    save_every: int = 50
    precision: Literal["model", "bf16"] = "model"
    seed: int = 0

    def checked(self) -> TrainingSettings:
        """These settings.

        Raises:
            SettingsError: one is out of its range.
        """
        least = {"epochs": 1, "batch": 1, "micro_batch": 1, "save_every": 1, "clip": 0, "replay_share": 0}
        least |= {"strength": 0, "weight_decay": 0, "patience": 0, "evaluate_every": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise SettingsError(f"{name} is {getattr(self, name)}.", hint=f"Wanted: {low} or more.")
        for name in ("rate", "temperature"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}.", hint="Wanted: above 0.")
        if self.precision not in ("model", "bf16") or not 0 <= self.smoothing < 1:
            raise SettingsError(
                f"precision is {self.precision!r}, smoothing {self.smoothing:g}.",
                hint="Wanted: model or bf16, and a smoothing of 0 or more, below 1.",
            )
        rate_at(0, 1, shape=self.schedule, warm_up=self.warm_up)
        return self

    def computing(self, device: torch.device) -> AbstractContextManager[object]:
        """Compute in this precision inside a `with`."""
        if self.precision == "bf16":
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return nullcontext()

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

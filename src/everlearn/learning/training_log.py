"""What a training says of itself: one JSON line a step, and on request TensorBoard events."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from everlearn.errors import SettingsError, StoreFullError

FILE = "steps.jsonl"


@final
@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What one update of a training was like.

    Attributes:
        step: which one, from 1.
        steps: how many there will be, unless it stops early.
        loss: task + replay + strength * ewc, nats.
        task: loss of the new examples.
        replay: loss of the replayed ones.
        ewc: penalty of what moved away from the anchor, before its strength.
        rate: learning rate.
        norm: of the gradient, before it was clipped.
        seconds: of this update.
        seconds_left: at the mean pace of this run.
        tokens_per_second: of prompts and answers in this update.
    """

    step: int
    steps: int
    loss: float
    task: float
    replay: float
    ewc: float
    rate: float
    norm: float
    seconds: float
    seconds_left: float
    tokens_per_second: float

    def figures(self) -> dict[str, float]:
        """By name, without the step itself."""
        return {name: value for name, value in asdict(self).items() if name != "step"}


TrainingWatch = Callable[[str, TrainingStep], None]  # is called with what is trained, after each update


@final
class TrainingLog:
    """A log in a folder. Lines of steps that are trained again after a resume are cut off.

    Args:
        folder: gets steps.jsonl and the event files; None = nothing is written.
        tensorboard: write events, too.

    Raises:
        SettingsError: events are wanted and the package is not installed.
    """

    def __init__(self, folder: Path | None, *, tensorboard: bool = False) -> None:
        self._path = folder / FILE if folder is not None else None
        self._events: Any = _events(folder) if tensorboard and folder is not None else None

    def begin(self, step: int) -> None:
        """Training goes on after this many steps."""
        if self._path is None:
            return
        lines = self._path.read_text("ascii").splitlines(keepends=True) if self._path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        self._written("w", "".join(kept))

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Note the figures of a step, from 1.

        Raises:
            StoreFullError: it cannot be written.
        """
        if self._path is not None:
            self._written("a", json.dumps({"step": step, **values}) + "\n")
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"training/{name}", value, step)

    def close(self) -> None:
        """Write what is still held back."""
        if self._events is not None:
            self._events.close()

    def _written(self, mode: str, text: str) -> None:
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="ascii") as file:
                file.write(text)
        except OSError as cause:
            raise StoreFullError(f"{self._path} cannot be written: {cause}.", hint="Free some room.") from cause


def _events(folder: Path) -> Any:  # noqa: ANN401
    try:
        module = importlib.import_module("tensorboardX")
    except ImportError as cause:
        raise SettingsError(
            "TensorBoard events are wanted, but the package tensorboardX is not installed.",
            hint="pip install 'everlearn[tracking]', or leave them off.",
        ) from cause
    return module.SummaryWriter(str(folder))

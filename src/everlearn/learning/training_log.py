"""What a training says of itself: one JSON line a step, and on request TensorBoard events."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from everlearn.errors import SettingsError, StoreFullError

FILE = "steps.jsonl"


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

"""Checkpoints of a pre-training: folders that appear whole or not at all, of which the newest and the best stay.

Each is a model folder of transformers, so it can be loaded and asked while training goes on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from everlearn.errors import FileFormatError, StoreFullError
from everlearn.learning.token_stream import Cursor

STATE, OPTIMIZER, WEIGHTS = "training.json", "optimizer.safetensors", "model.safetensors"
_FORM = 1
_RNG = "rng/cpu"


@final
@dataclass(slots=True)
class Progress:
    """How far a pre-training is.

    Attributes:
        step: updates done.
        tokens: predicted so far.
        cursor: where the stream of text stands.
        best: lowest bits per byte so far; infinite before the first evaluation.
        best_step: of the checkpoint that has it.
        seconds: of all runs.
    """

    step: int = 0
    tokens: int = 0
    cursor: Cursor = Cursor()  # noqa: RUF009  frozen
    best: float = float("inf")
    best_step: int = 0
    seconds: float = 0.0


@final
class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: of the training; they lie in `checkpoints/` below it.
        keep: how many of the newest stay, besides the best.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self._keep = folder / "checkpoints", keep

    def all(self) -> list[Path]:
        """Whole checkpoints, the oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.isdigit() and (path / STATE).is_file())

    def save(
        self,
        progress: Progress,
        write_model: Callable[[Path], None],
        optimizer: Mapping[str, Tensor],
        extra: Mapping[str, Tensor],
    ) -> Path:
        """Write a checkpoint; older ones that are not needed any more go.

        Args:
            progress: how far it is.
            write_model: writes the model's own files into a folder.
            optimizer: its state.
            extra: other tensors, such as averaged weights.

        Raises:
            StoreFullError: it cannot be written; the older ones stay.
        """
        final_place = self.folder / f"{progress.step:08d}"
        aside = self.folder / f".{final_place.name}.{os.getpid()}"
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            write_model(aside)
            tensors = {f"optimizer/{n}": t for n, t in optimizer.items()} | {f"extra/{n}": t for n, t in extra.items()}
            save_file({**tensors, _RNG: torch.get_rng_state()}, aside / OPTIMIZER)
            about = {"form": _FORM, **asdict(progress), "best": repr(progress.best)}
            (aside / STATE).write_text(json.dumps(about, indent=1), encoding="utf-8")
            _flush(aside)
            if final_place.exists():  # of a run that was told to go further back
                shutil.rmtree(final_place)
            aside.rename(final_place)
            _flush_folder(self.folder)
        except (OSError, SafetensorError) as cause:
            shutil.rmtree(aside, ignore_errors=True)
            raise StoreFullError(
                f"The checkpoint of update {progress.step:,} cannot be written: {cause}.",
                hint="Free some room; training goes on from the checkpoint before.",
            ) from cause
        self._drop(progress)
        return final_place

    def load(self, path: Path, module: nn.Module) -> tuple[Progress, dict[str, Tensor], dict[str, Tensor]]:
        """Set a model and torch's random numbers to a checkpoint.

        Returns:
            How far it was, the optimiser's state, and the other tensors.

        Raises:
            FileFormatError: damaged, of a newer version, or of another model.
        """
        try:
            about: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
            if about.pop("form") > _FORM:
                raise FileFormatError(f"{path} is of a newer version.", hint="Update everlearn.")
            cursor = Cursor(**about.pop("cursor"))
            progress = Progress(**{**about, "best": float(about["best"]), "cursor": cursor})
            tensors = load_file(path / OPTIMIZER)
            missing, unexpected = module.load_state_dict(load_file(path / WEIGHTS), strict=False)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as cause:
            raise FileFormatError(
                f"{path} cannot be gone on from: {cause}.", hint="Delete it; the one before is taken then."
            ) from cause
        tied = set(getattr(module, "_tied_weights_keys", None) or ())
        if unexpected or set(missing) - tied:
            raise FileFormatError(f"{path} belongs to another model.", hint="Give the settings it was made with.")
        torch.set_rng_state(tensors.pop(_RNG))
        parts: dict[str, dict[str, Tensor]] = {"optimizer": {}, "extra": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            parts[kind][rest] = tensor
        return progress, parts["optimizer"], parts["extra"]

    def _drop(self, progress: Progress) -> None:
        paths = self.all()
        for path in paths[: -self._keep]:
            if int(path.name) != progress.best_step:
                shutil.rmtree(path, ignore_errors=True)
        for left in self.folder.glob(".*"):  # of a process that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

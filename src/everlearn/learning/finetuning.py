"""Training a model of others further, on questions and answers: as an adapter, or all of its weights."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import torch

from everlearn.corpus.lesson_files import read_lessons
from everlearn.engine.engine import Engine
from everlearn.errors import FileFormatError, InputError, StoreFullError
from everlearn.learning.distilled_adapter import learn_distilled
from everlearn.learning.distilling import TRAIN, VALIDATION, is_held_out
from everlearn.learning.examples import Example, encoded
from everlearn.learning.losses import losses_of
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.weights import FullWeights
from everlearn.models.base import BaseModel
from everlearn.records import Verdict
from everlearn.specialists.settings import AdapterSettings
from everlearn.text.chat import ChatText

Progress = Callable[[str, int, int], None]
LEAST = 2
_ROWS = 8


@dataclass(frozen=True, slots=True)
class Finetuned:
    """Outcome of training all weights: held-out loss (nats a token) before and after, updates, folder of the model."""

    loss_base: float
    loss: float
    steps: int
    folder: Path


def examples_in(path: Path) -> tuple[list[Example], list[Example]]:
    """Questions and answers of a JSONL, JSON, CSV or TSV file: those to train on, and those to judge by.

    One in ten is held out; which ones, their questions say, so an example never changes sides.

    Raises:
        FileFormatError: the file or a line of it cannot be read.
        InputError: fewer than two examples.
    """
    found: list[Example] = []
    for line in read_lessons(path):
        if line.lesson is None:
            raise FileFormatError(f"{path}, line {line.number}: {line.error}", hint="Mend that line, or remove it.")
        lesson = line.lesson
        source = f"{path.name}:{line.number}"
        found.append(Example(lesson.question, lesson.answer, lesson.domain, lesson.importance, source))
    if len(found) < LEAST:
        raise InputError(
            f"{path.name} holds {len(found)} example{'s' * (len(found) != 1)}.",
            hint="At least two are needed: one to train on and one to judge by.",
        )
    held = [example for example in found if is_held_out(example.prompt)]
    train = [example for example in found if not is_held_out(example.prompt)]
    if not held:
        held, train = train[-1:], train[:-1]
    if not train:
        held, train = held[1:], held[:1]
    return train, held


def finetune_adapter(
    engine: Engine,
    name: str,
    data: Path,
    training: TrainingSettings | None = None,
    shape: AdapterSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Verdict:
    """Train a new version of an adapter (LoRA; over a base in 4 bits, QLoRA) on a file.

    It is used if its loss on the held-out examples is below that of the base; else nothing is changed. A training that
    was killed goes on.

    Args:
        engine: with a folder of adapters.
        name: of the adapter.
        data: questions and answers.
        training: how.
        shape: of the adapter.
        progress: called with (what, done, all).

    Raises:
        InputError, FileFormatError: as `examples_in`.
        SettingsError: the engine has no folder of adapters, or the name can be none.
        TrainingError: the loss was no number; nothing was changed.
        StoreFullError: the examples cannot be kept beside the training.
    """
    train, held = examples_in(data)
    place = (
        Path(engine.specialists.shelf.folder if engine.specialists else data.parent) / f".examples-{uuid4().hex[:8]}"
    )
    try:
        place.mkdir(parents=True)
        for file, examples in ((TRAIN, train), (VALIDATION, held)):
            _write(place / file, examples)
        return learn_distilled(engine, name, place, training, shape, progress=progress)
    except OSError as cause:
        raise StoreFullError(f"{place} cannot be written: {cause}.", hint="Free some room.") from cause
    finally:
        shutil.rmtree(place, ignore_errors=True)


def finetune_full(
    model: BaseModel,
    text: ChatText,
    data: Path,
    folder: Path,
    training: TrainingSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Finetuned:
    """Train all weights of a model on a file, and write the model.

    Args:
        model: is changed; in float32, since small steps are lost in half precision.
        text: its tokenizer.
        data: questions and answers.
        folder: gets the state of the training and, below `model`, the model with its tokenizer.
        training: how.
        progress: called with (what, done, all).

    Raises:
        InputError, FileFormatError: as `examples_in`.
        TrainingError: the loss was no number.
        StoreFullError: the folder cannot be written.
    """
    tell = progress or (lambda _what, _done, _all: None)
    train, held = examples_in(data)
    before = _loss(model, text, held)
    trainer = Trainer(FullWeights(model), text, training, folder=folder)
    done = trainer.train(train, held, progress=lambda n, total: tell("training", n, total))
    target = folder / "model"
    try:
        target.mkdir(parents=True, exist_ok=True)
        model.module.save_pretrained(target)  # type: ignore[operator]  # a module of transformers
        text.save(target)
    except OSError as cause:
        raise StoreFullError(f"{target} cannot be written: {cause}.", hint="Free some room.") from cause
    return Finetuned(before, _loss(model, text, held), done.steps, target)


@torch.inference_mode()
def _loss(model: BaseModel, text: ChatText, examples: Sequence[Example]) -> float:
    rows = [encoded(text, example) for example in examples]
    losses: list[float] = []
    with model.lock:
        for begin in range(0, len(rows), _ROWS):
            losses += losses_of(model, rows[begin : begin + _ROWS]).tolist()
    return math.fsum(losses) / len(losses)


def _write(path: Path, examples: Iterable[Example]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(example.to_row()) + "\n")

"""From a teacher's answers to an adapter: trained on nine tenths of them, used only if the last tenth says so."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from everlearn.engine.engine import Engine
from everlearn.errors import InputError, SettingsError
from everlearn.learning.distilling import TRAIN, VALIDATION, read_examples
from everlearn.learning.examples import Encoded, digest_of, encoded
from everlearn.learning.general_prompts import general_prompts
from everlearn.learning.losses import losses_of
from everlearn.learning.probing import drift_of
from everlearn.learning.self_distillation import own_answers
from everlearn.learning.sleep import CANDIDATE
from everlearn.learning.sleep_lock import asleep
from everlearn.learning.sleep_records import note
from everlearn.learning.trainer import Trainer
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.weights import AdapterWeights
from everlearn.records import Verdict
from everlearn.specialists.adapter import Adapter, checked_name
from everlearn.specialists.settings import AdapterSettings

Progress = Callable[[str, int, int], None]
_PROBES = 32
_ROWS = 8


def learn_distilled(
    engine: Engine,
    name: str,
    folder: Path,
    training: TrainingSettings | None = None,
    shape: AdapterSettings | None = None,
    *,
    progress: Progress | None = None,
) -> Verdict:
    """Train a new version of an adapter on what `distil` collected in a folder.

    A candidate is used if its loss on the held-out answers is below that of the base model; else nothing is changed.
    How far it leads away from the base on unrelated prompts (locality, drift) is told and not judged: being another
    voice than the base may be what it is for, and the router or the asker decides when it speaks. A training that was
    killed goes on.

    Args:
        engine: with a folder of adapters.
        name: of the adapter.
        folder: with train.jsonl and validation.jsonl.
        training: how.
        shape: of the adapter.
        progress: called with (what, done, all).

    Raises:
        InputError: nothing to train on, or nothing to judge by.
        SettingsError: the engine has no folder of adapters, or the name can be none.
        StoreBusyError: a sleep is under way.
        TrainingError: the loss was no number; nothing was changed.
    """
    if engine.specialists is None:
        raise SettingsError("This engine has no folder of adapters.", hint="Open it with everlearn.load().")
    specialists, tell = engine.specialists, progress or (lambda _what, _done, _all: None)
    train, held_out = read_examples(folder / TRAIN), read_examples(folder / VALIDATION)
    if not train or not held_out:
        raise InputError(
            f"{folder} holds {len(train)} examples to train on and {len(held_out)} to judge by.",
            hint="Distil more prompts; one in ten is held out.",
        )
    begun, settings = time.perf_counter(), training or TrainingSettings()
    adapters, shelf = specialists.workshop(), specialists.shelf
    with asleep(shelf.folder):
        adapters.create(CANDIDATE, shape or AdapterSettings(), seed=settings.seed)
        weights = AdapterWeights(adapters, CANDIDATE)
        state = shelf.folder / checked_name(name) / ".distilling"
        trainer = Trainer(weights, engine.text, settings, folder=state)
        told = partial(tell, "training")
        trainer.train(train, held_out, progress=told, before_part=engine.give_way)
        figures = _figures(engine, weights, [encoded(engine.text, e) for e in held_out], tell)
        accepted = figures["loss"] < figures["loss_base"]
        reason = f"its loss on held-out answers is {figures['loss']:.4f}, that of the base {figures['loss_base']:.4f}"
        verdict = Verdict(name, accepted, () if accepted else (reason,), figures)
        if accepted:
            draft = Adapter(
                name,
                engine.name,
                engine.model.digest,
                data={TRAIN: digest_of(train), VALIDATION: digest_of(held_out)},
                settings=settings.to_dict(),
            )
            kept = adapters.keep(CANDIDATE, draft)
            specialists.learn_routes(name, [example.id for example in train], [e.prompt for e in train])
            shelf.point(kept.name, kept.step)
            verdict = Verdict(kept.id, True, (), figures, seconds=time.perf_counter() - begun)
        shutil.rmtree(state)
        note(shelf.folder, verdict)
    return verdict


@torch.inference_mode()
def _figures(engine: Engine, weights: AdapterWeights, rows: Sequence[Encoded], tell: Progress) -> dict[str, float]:
    """Loss of base and candidate on held-out answers, and how far the candidate leads away on unrelated prompts."""
    model = weights.model
    base: list[float] = []
    mine: list[float] = []
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        with model.lock:
            base += losses_of(model, some).tolist()
        with weights.adapters.worn([weights.adapter_id] * len(some)):
            mine += losses_of(model, some).tolist()
        tell("judging", first + len(some), len(rows))
    probes = own_answers(engine, general_prompts()[:_PROBES])
    agreement, drift = drift_of(weights.adapters, weights.adapter_id, probes)
    return {
        "loss_base": sum(base) / len(base),
        "loss": sum(mine) / len(mine),
        "locality": sum(agreement) / len(agreement),
        "drift": sum(drift) / len(drift),
    }

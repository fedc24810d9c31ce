"""The trainer: loss = task + replay + strength * ewc."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from everlearn.errors import InputError, TrainingError
from everlearn.learning.examples import Encoded, Example, digest_of, encoded
from everlearn.learning.fisher import Anchor
from everlearn.learning.losses import losses_of
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.schedule import rate_at
from everlearn.learning.training_log import TrainingLog, TrainingStep
from everlearn.learning.training_settings import TrainingSettings
from everlearn.learning.training_state import Standing, load_state, save_state
from everlearn.learning.weights import TrainableWeights, copied, put_back
from everlearn.specialists.digest import digest_of as tensors_digest
from everlearn.text.chat import ChatText

Progress = Callable[[int, int], None]
STATE = "training.safetensors"


@dataclass(frozen=True, slots=True)
class Trained:
    """Outcome of a training.

    Attributes:
        steps: updates done, those before a resume included.
        loss: of the last update.
        validation: lowest validation loss; None where none was computed.
        seconds: of this run.
        stopped_early: whether validation stopped improving before the end.
    """

    steps: int
    loss: float
    validation: float | None
    seconds: float
    stopped_early: bool


@final
class Trainer:
    """Trains weights on new examples without losing what earlier ones taught.

    Args:
        weights: what is changed.
        text: tokenizer and chat template of the model.
        settings: how.
        replay: earlier examples; None = none.
        anchor: where earlier tasks left the weights; None = nowhere.
        projections: by name of a weight [N, K], the projection [K, K] that its updates are confined to.
        folder: keeps state and log, so that a killed training goes on; None = nothing is kept.
        tensorboard: write TensorBoard events into the folder.
    """

    def __init__(
        self,
        weights: TrainableWeights,
        text: ChatText,
        settings: TrainingSettings | None = None,
        *,
        replay: ReplayBuffer | None = None,
        anchor: Anchor | None = None,
        projections: Mapping[str, Tensor] | None = None,
        folder: Path | None = None,
        tensorboard: bool = False,
    ) -> None:
        self._projections = dict(projections or {})
        self.settings = (settings or TrainingSettings()).checked()
        self._weights, self._text, self._anchor, self._replay = weights, text, anchor, replay
        self._parameters = weights.parameters()
        self._good = copied(self._parameters)  # what to go back to when an update goes wrong
        self._folder = folder
        self._log = TrainingLog(folder, tensorboard=tensorboard)
        self._before_part: Callable[[], None] = lambda: None
        chosen = self.settings
        self._optimizer = torch.optim.AdamW(
            list(self._parameters.values()), lr=chosen.rate, weight_decay=chosen.weight_decay
        )

    def train(
        self,
        examples: Sequence[Example],
        validation: Sequence[Example] = (),
        *,
        progress: Progress | None = None,
        watch: Callable[[TrainingStep], None] | None = None,
        before_part: Callable[[], None] | None = None,
    ) -> Trained:
        """Learn. A training that was killed goes on where its last state was kept, with the same losses.

        Args:
            examples: the new ones.
            validation: held out; for early stopping, and the best weights are kept at the end.
            progress: called with (updates done, all).
            watch: called with the figures of each update, before `progress`.
            before_part: called before each micro-batch, without a lock: may wait while others need the machine.

        Raises:
            InputError: no example.
            TrainingError: the loss is not a number; the weights are those before it went wrong.
            StoreFullError: the state cannot be written; the older one stays.
        """
        if not examples:
            raise InputError("There is nothing to train on.", hint="Give at least one example.")
        begun, rows = time.perf_counter(), [encoded(self._text, e) for e in examples]
        held_out = [encoded(self._text, e) for e in validation]
        self._before_part = before_part or (lambda: None)
        steps = math.ceil(len(rows) / self.settings.batch) * self.settings.epochs
        mark = self._fingerprint(examples, validation)
        standing = self._resumed(mark)
        stopped = False
        self._log.begin(standing.step)
        first, started = standing.step, time.perf_counter()
        while standing.step < steps and not stopped:
            pace = (time.perf_counter() - started) / max(standing.step - first, 1)
            told = self._update(rows, standing.step, steps, pace)
            standing.loss = told.loss
            standing.step += 1
            if watch is not None:
                watch(told)
            stopped = self._validated(held_out, standing, steps)
            if self._folder is not None and (standing.step % self.settings.save_every == 0 or standing.step == steps):
                save_state(self._folder / STATE, mark, standing, self._parameters, self._optimizer)
            if progress is not None:
                progress(standing.step, steps)
        if standing.best_weights:
            put_back(self._parameters, standing.best_weights)
        self._log.close()
        best = standing.best if held_out else None
        return Trained(standing.step, standing.loss, best, time.perf_counter() - begun, stopped)

    def _update(self, rows: Sequence[Encoded], step: int, steps: int, pace: float) -> TrainingStep:
        """One update of the weights on new and replayed examples; returns its figures.

        Args:
            rows: all new examples.
            step: updates done.
            steps: all.
            pace: seconds an update so far; 0 = none was done yet.
        """
        begun, settings = time.perf_counter(), self.settings
        batch = [(row, True) for row in self._new(rows, step)] + [(row, False) for row in self._old(step)]
        batch.sort(key=lambda pair: len(pair[0].prompt) + len(pair[0].answer))  # little padding in each part
        parts = [batch[n : n + settings.micro_batch] for n in range(0, len(batch), settings.micro_batch)]
        sums = {"task": 0.0, "replay": 0.0, "ewc": 0.0, "loss": 0.0}
        self._optimizer.zero_grad(set_to_none=True)
        for part in parts:
            self._before_part()
            with self._weights.on():
                is_new = torch.tensor([new for _, new in part], device=self._weights.model.device)
                each = self._losses([row for row, _ in part]) / len(batch)
                task, replay, ewc = each[is_new].sum(), each[~is_new].sum(), self._ewc() / len(parts)
                loss = task + replay + settings.strength * ewc
                torch.autograd.backward(loss)
            for name, value in (("task", task), ("replay", replay), ("ewc", ewc), ("loss", loss)):
                sums[name] += float(value.detach())
        share = rate_at(step, steps, shape=settings.schedule, warm_up=settings.warm_up)
        norm = self._stepped(share, sums["loss"], step)
        seconds = time.perf_counter() - begun
        tokens = sum(len(row.prompt) + len(row.answer) for row, _ in batch)
        told = TrainingStep(
            step + 1,
            steps,
            **sums,
            rate=settings.rate * share,
            norm=norm,
            seconds=seconds,
            seconds_left=(pace or seconds) * (steps - step - 1),
            tokens_per_second=tokens / seconds,
        )
        self._log.step(told.step, told.figures())
        return told

    def _stepped(self, share: float, loss: float, step: int) -> float:
        """Move the weights along their gradients; returns the gradient's norm.

        Raises:
            TrainingError: loss or gradient is not a number; the last update is taken back.
        """
        parameters = list(self._parameters.values())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip or math.inf)
        if not math.isfinite(loss) or not bool(torch.isfinite(norm)):
            put_back(self._parameters, self._good)
            self._log.close()
            raise TrainingError(
                f"At update {step + 1} the loss is {loss:g} and the gradient {float(norm):g}; training stopped, "
                "the weights are those of the last good update.",
                hint="Lower the learning rate, or look for damaged examples.",
            )
        self._good = copied(self._parameters)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate * share
        self._optimizer.step()
        self._confine()
        return float(norm)

    @torch.no_grad()
    def _confine(self) -> None:
        """Keep of the last update what lies inside the projections."""
        for name, projection in self._projections.items():
            weight, before = self._parameters[name], self._good[name]
            weight.copy_(before + ((weight - before).float() @ projection).to(weight.dtype))

    def _losses(self, rows: Sequence[Encoded]) -> Tensor:
        with self.settings.computing(self._weights.model.device):
            return losses_of(
                self._weights.model, rows, temperature=self.settings.temperature, smoothing=self.settings.smoothing
            )

    def _ewc(self) -> Tensor:
        if self._anchor is None or self.settings.strength == 0:
            return torch.zeros((), device=self._weights.model.device)
        return self._anchor.penalty(self._parameters)

    def _new(self, rows: Sequence[Encoded], step: int) -> list[Encoded]:
        """The new examples of an update: a function of the seed and the step."""
        size = self.settings.batch
        epoch, place = divmod(step, math.ceil(len(rows) / size))
        order = list(range(len(rows)))
        random.Random(f"{self.settings.seed}/order/{epoch}").shuffle(order)
        return [rows[i] for i in order[place * size : (place + 1) * size]]

    def _old(self, step: int) -> list[Encoded]:
        """The replayed examples of an update: as many as its share says, drawn by the seed and the step."""
        if self._replay is None or not len(self._replay):
            return []
        chance = random.Random(f"{self.settings.seed}/replay/{step}")
        wanted = self.settings.replay_share * self.settings.batch
        count = int(wanted) + (chance.random() < wanted - int(wanted))
        return [encoded(self._text, e) for e in self._replay.draw(count, self.settings.replay_draw, chance=chance)]

    @torch.no_grad()
    def _validated(self, held_out: Sequence[Encoded], standing: Standing, steps: int) -> bool:
        """Validate where it is time to; returns whether it has not improved for too long."""
        every = self.settings.evaluate_every or max(1, steps // self.settings.epochs)
        if not held_out or (standing.step % every and standing.step != steps):
            return False
        losses: list[float] = []
        for n in range(0, len(held_out), self.settings.micro_batch):
            with self._weights.on():
                losses += self._losses(held_out[n : n + self.settings.micro_batch]).tolist()
        loss = sum(losses) / len(losses)
        if loss < standing.best:
            standing.best, standing.waited, standing.best_weights = loss, 0, copied(self._parameters)
        else:
            standing.waited += 1
        return 0 < self.settings.patience <= standing.waited

    def _resumed(self, mark: str) -> Standing:
        found = None
        if self._folder is not None:
            found = load_state(self._folder / STATE, mark, self._parameters, self._optimizer)
        self._good = copied(self._parameters)
        return found or Standing()

    def _fingerprint(self, examples: Sequence[Example], validation: Sequence[Example]) -> str:
        """Digest of all that the losses depend on: a kept state of anything else is not gone on with."""
        kept = self._replay.examples() if self._replay is not None else []
        digests = [digest_of(list(part)) for part in (examples, validation, kept)]
        digests.append(tensors_digest(dict(self._parameters)))
        if self._anchor is not None:
            digests.append(
                tensors_digest({**self._anchor.point, **{f"/{n}": t for n, t in self._anchor.information.items()}})
            )
        digests.append(tensors_digest(self._projections))
        what = [self._weights.model.digest, self.settings.to_dict(), digests]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

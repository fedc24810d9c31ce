"""Pre-training: a model from nothing, on text, step by step; a training that was killed goes on exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from everlearn.errors import StoreFullError, TrainingError
from everlearn.learning.optimizers import Optimizers
from everlearn.learning.pretraining_check import Average, HeldOut, written
from everlearn.learning.pretraining_settings import PretrainingSettings
from everlearn.learning.pretraining_state import Checkpoints, Progress
from everlearn.learning.schedule import rate_at
from everlearn.learning.together import Together
from everlearn.learning.token_stream import TokenBlocks, TokenStream, document_positions
from everlearn.learning.training_log import TrainingLog
from everlearn.models.apertis.experts import balance_experts, expert_loads

MODEL = "model"


@dataclass(frozen=True, slots=True)
class Step:
    """One update.

    Attributes:
        step: its number, from 1.
        steps: in all.
        figures: loss (nats a token), rate, norm of the gradient, tokens so far, tokens_per_second; and where it was
            evaluated, bits_per_byte of the held-out text.
        texts: that were written, where it was evaluated.
        best: whether no evaluation before was better.
        saved: whether a checkpoint was written.
    """

    step: int
    steps: int
    figures: Mapping[str, float]
    texts: tuple[str, ...] = ()
    best: bool = False
    saved: bool = False


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Outcome of a pre-training: updates and tokens in all, the last loss, bits per byte, seconds, model folder."""

    steps: int
    tokens: int
    loss: float
    bits_per_byte: float
    best: float
    seconds: float
    folder: Path


@final
class Pretrainer:
    """Trains a model from nothing.

    Args:
        module: of transformers, float32; is changed.
        tokenizer: of transformers.
        settings: all of them derived.
        train: text.
        held_out: text that is judged by.
        folder: gets checkpoints, log and the finished model.
        together: of which processes this is one.
        tensorboard: write TensorBoard events, too.
    """

    def __init__(
        self,
        module: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        settings: PretrainingSettings,
        train: TokenBlocks,
        held_out: TokenBlocks,
        folder: Path,
        *,
        together: Together | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.settings, self.folder = settings, folder
        self._module, self._tokenizer, self._blocks = module, tokenizer, train
        self._together = together or Together()
        separate = settings.separate_documents
        self._end = train.end if separate else None
        self._held_out = HeldOut(held_out, settings.sequence, settings.evaluate_tokens, tokenizer, separate=separate)
        self._parameters = dict(module.named_parameters())
        self._optimizers = Optimizers(self._parameters, settings.optimizer, settings.rate, settings.weight_decay)
        self._average = Average(self._parameters, settings.ema) if settings.ema else None
        self._checkpoints = Checkpoints(folder, settings.keep)
        writes = folder if self._together.first else None
        self._log = TrainingLog(writes, tensorboard=tensorboard)
        self._precision = precision_of(settings.precision, module.device)
        if settings.gradient_checkpointing:
            enable = getattr(module, "activation_checkpointing_enable", None) or module.gradient_checkpointing_enable
            enable()  # without re-entrance, which is transformers' default
        self.progress = Progress()

    def resume(self) -> int:
        """Go on from the newest checkpoint, if there is one; returns the updates that are done already.

        Raises:
            FileFormatError: it is damaged, or belongs to other settings.
        """
        if found := self._checkpoints.all():
            self.progress, optimizer, extra = self._checkpoints.load(found[-1], self._module)
            self._optimizers.restore(optimizer)
            if self._average is not None and extra:
                self._average.values = {n: extra[f"average/{n}"].to(p.device) for n, p in self._parameters.items()}
        return self.progress.step

    def train(self, tell: Callable[[Step], None] | None = None) -> Pretrained:
        """Train to the end.

        Args:
            tell: called after each update.

        Raises:
            TrainingError: the loss is no number; the state before it is kept.
            StoreFullError: a checkpoint or the log cannot be written; the checkpoint before stays.
            FileFormatError: text cannot be read.
        """
        settings, progress = self.settings, self.progress
        stream = TokenStream(self._blocks, settings.sequence, settings.seed, progress.cursor)
        loss, bits = float("nan"), float("nan")
        self._log.begin(progress.step)
        self._module.train()
        try:
            while progress.step < settings.steps:
                begun = time.perf_counter()
                figures = self._update(stream)
                loss = figures["loss"]
                due = progress.step % settings.evaluate_every == 0 or progress.step == settings.steps
                texts, best = self._evaluate(figures) if due else ((), False)
                bits = figures.get("bits_per_byte", bits)
                progress.seconds += time.perf_counter() - begun
                self._log.step(progress.step, figures)
                saved = progress.step % settings.save_every == 0 or progress.step == settings.steps or best
                if saved:
                    self._save()
                if tell is not None:
                    tell(Step(progress.step, settings.steps, figures, texts, best, saved))
        finally:
            self._log.close()
        return self._finished(loss, bits)

    def _update(self, stream: TokenStream) -> dict[str, float]:
        """One update of the weights; returns its figures."""
        settings, progress, begun = self.settings, self.progress, time.perf_counter()
        rows = stream.rows(settings.rows)
        mine, total = self._together.mine(rows), rows.shape[0] * (rows.shape[1] - 1)
        loss = 0.0
        for part in torch.split(mine, settings.micro_batch):
            share = self._loss(part, total)
            torch.autograd.backward(share)
            loss += float(share.detach())
        loss = self._together.summed(loss)
        parameters = list(self._parameters.values())
        self._together.sum_gradients(parameters)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip or math.inf))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._stop_at(loss, norm)
        share_of_rate = rate_at(progress.step, settings.steps, shape=settings.schedule, warm_up=settings.warm_up)
        self._optimizers.step(share_of_rate)
        loads = {f"load/{load.layer}": load.max_violation for load in expert_loads(self._module)}
        balance_experts(self._module)
        progress.step += 1
        progress.tokens += total
        progress.cursor = stream.cursor
        if self._average is not None:
            self._average.follow(progress.step)
        return {
            "loss": loss, "rate": settings.rate * share_of_rate, "norm": norm, "tokens": progress.tokens,
            "tokens_per_second": total / (time.perf_counter() - begun), **loads,
        }  # fmt: skip

    def _loss(self, rows: Tensor, total: int) -> Tensor:
        """Loss of rows [B, T], as a share of that of all `total` predicted tokens of the update."""
        rows = rows.to(self._module.device)
        arguments = {} if self._end is None else {"position_ids": document_positions(rows, self._end)}
        with self._precision():
            loss: Tensor = self._module(
                input_ids=rows, labels=rows, use_cache=False, num_items_in_batch=total, **arguments
            ).loss
        return loss

    def _evaluate(self, figures: dict[str, float]) -> tuple[tuple[str, ...], bool]:
        """Bits per byte, added to the figures, and texts; with the averaged weights where there are any."""
        progress = self.progress
        texts: list[str] = []
        with self._average.worn() if self._average is not None else nullcontext():
            with self._precision():
                bits = self._held_out.bits_per_byte(self._module, max(self.settings.micro_batch, 1))
            if self._together.first:
                texts = written(self._module, self._tokenizer, self.settings.prompts, self.settings.sequence)
        figures["bits_per_byte"] = bits
        best = bits < progress.best
        if best:
            progress.best, progress.best_step = bits, progress.step
        return tuple(texts), best

    def _save(self) -> None:
        if self._together.first:
            extra = {f"average/{n}": t for n, t in self._average.values.items()} if self._average else {}
            self._checkpoints.save(self.progress, self._write_model, self._optimizers.state(), extra)
        self._together.wait()

    def _write_model(self, folder: Path) -> None:
        self._module.save_pretrained(folder)
        self._tokenizer.save_pretrained(folder)

    def _stop_at(self, loss: float, norm: float) -> None:
        """The weights were not touched by the bad update: they are kept, and training stops."""
        self._optimizers.forget()
        if self.progress.step:
            self._save()
        raise TrainingError(
            f"At update {self.progress.step + 1:,} the loss is {loss:g} and the gradient {norm:g}: training "
            f"stopped. The state before it is kept in {self._checkpoints.folder}.",
            hint="Lower the rate (--rate) and go on with --resume.",
        )

    def _finished(self, loss: float, bits: float) -> Pretrained:
        """The finished model, averaged weights where there are any."""
        target = self.folder / MODEL
        if self._together.first:
            try:
                with self._average.worn() if self._average is not None else nullcontext():
                    self._write_model(target)
            except OSError as cause:
                raise StoreFullError(f"{target} cannot be written: {cause}.", hint="Free some room.") from cause
        progress = self.progress
        return Pretrained(progress.step, progress.tokens, loss, bits, progress.best, progress.seconds, target)


def precision_of(wanted: str, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """What forward passes are computed in."""
    if wanted == "auto":
        fast = device.type != "cpu" or "avx512_bf16" in _processor_flags()
        wanted = "bf16" if fast else "float32"
    if wanted == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def _processor_flags() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system; bfloat16 may be slow there, and float32 never is wrong
        return ""

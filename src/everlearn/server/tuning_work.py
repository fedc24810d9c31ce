"""The work of a fine-tuning: the trainer of everlearn, behind its test, told as events.

A training that was stopped with the server goes on at its last saved state. The new version is used only if its loss on
what was held out is below that of the base model; else the job fails and says by how much.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from typing import Any, Literal, final

from everlearn.errors import EverlearnError
from everlearn.learning.examples import Example
from everlearn.learning.training_log import FILE as STEPS
from everlearn.learning.training_settings import TrainingSettings
from everlearn.server.files import bytes_of
from everlearn.server.jobs import CancelledJobError, Progress
from everlearn.server.tenants import Tenant
from everlearn.server.tuning_files import parted, read_examples, write
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

KIND, EVENT, CHECKPOINT = "fine_tuning.job", "fine_tuning.event", "fine_tuning.checkpoint"
FOLDER = "fine_tuning"
RATE = 3e-4  # learning rate where the multiplier is 1
OPEN = ("validating_files", "queued", "running", "cancelling", "pausing")
_TOLD_STEPS = 100  # metrics events of one job, about
_LINE = 4096  # bytes, more than a line of the trainer's log has


@final
class Tuning:
    """One job at work.

    Args:
        tenant: whose.
        job_id: of the job.
    """

    def __init__(self, tenant: Tenant, job_id: str) -> None:
        self._tenant, self._id = tenant, job_id
        self._body: Mapping[str, Any] = tenant.objects.get(KIND, job_id).body
        self._step, self._loss = 0, 0.0

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train, judge, and keep.

        Raises:
            CancelledJobError: it was cancelled or paused, or the server ends: then it goes on at the next start.
            EverlearnError: it failed; the job says why.
        """
        try:
            train, held_out = self._read()
            self._change("running")
            self.tell("info", f"Training on {len(train)} examples, {len(held_out)} are held out.")
            verdict = self._trained(train, held_out, progress)
        except CancelledJobError:
            self._stopped()
            raise
        except EverlearnError as error:
            self._failed(error.code, str(error))
            raise
        if not verdict.accepted:
            self._failed("not_better", f"It is not used: {'; '.join(verdict.reasons)}.")
            return {"job": self._id, "status": "failed"}
        self._checkpoint(verdict.adapter, verdict.figures)
        self.tell("info", f"The new model is {verdict.adapter}.")
        self._change("succeeded", fine_tuned_model=verdict.adapter, finished_at=int(time.time()))
        return {"job": self._id, "status": "succeeded", "model": verdict.adapter}

    def tell(
        self, level: Literal["info", "warn", "error"], message: str, data: Mapping[str, Any] | None = None
    ) -> None:
        """Note an event."""
        body = {"level": level, "message": message, "type": "metrics" if data else "message", "data": data or {}}
        self._tenant.objects.put(StoredObject(f"ftevent-{new_id()}", EVENT, body, self._id))

    def _read(self) -> tuple[list[Example], list[Example]]:
        body, name = self._body, self._body["name"]
        train = read_examples(bytes_of(self._tenant, body["training_file"]), body["training_file"], name)
        other = body["validation_file"]
        held_out = read_examples(bytes_of(self._tenant, other), other, name) if other else []
        train, held_out = parted(train, held_out)
        tokens = sum(self._tenant.engine.text.count(e.prompt + e.answer) for e in train)
        self._change("queued", trained_tokens=tokens * body["hyperparameters"]["n_epochs"])
        write(self._tenant.folder / FOLDER / self._id, train, held_out)
        return train, held_out

    def _trained(self, train: list[Example], held_out: list[Example], progress: Progress) -> Any:  # noqa: ANN401
        body, how = self._body, self._body["hyperparameters"]
        settings = TrainingSettings(
            epochs=how["n_epochs"],
            batch=min(how["batch_size"], len(train)),
            rate=RATE * how["learning_rate_multiplier"],
            seed=body["seed"],
        )
        folder = self._tenant.folder / FOLDER / self._id

        def told(what: str, done: int, total: int) -> None:
            if self._status() in ("cancelled", "paused"):  # by way of another server on this folder
                raise CancelledJobError
            if what == "training":
                last = self._last_step()
                self._metrics(last, done, total)
                progress.trained(body["name"], last)
            progress(what, done, total)

        from everlearn.learning.distilled_adapter import learn_distilled  # PEFT only where something is trained

        verdict = learn_distilled(self._tenant.engine, body["name"], folder, settings, progress=told)
        shutil.rmtree(folder)
        return verdict

    def _last_step(self) -> dict[str, float]:
        """The figures of the last update, as the trainer has noted them."""
        specialists = self._tenant.engine.specialists
        assert specialists is not None, "the server opens engines with a folder of adapters"
        with (specialists.shelf.folder / self._body["name"] / ".distilling" / STEPS).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _LINE))  # a log grows with the training; only its end is read
            figures: dict[str, float] = json.loads(log.read().splitlines()[-1])
        return figures

    def _metrics(self, last: Mapping[str, float], step: int, total: int) -> None:
        """Tell the figures of an update in the manner of OpenAI."""
        if step % max(1, total // _TOLD_STEPS) and step != total:
            return
        self._step, self._loss = step, float(last["loss"])
        figures = {"step": step, "total_steps": total, "train_loss": self._loss}
        self.tell("info", f"Step {step}/{total}: training loss {self._loss:.4f}", figures)

    def _checkpoint(self, adapter: str, figures: Mapping[str, float]) -> None:
        metrics = {"step": self._step, "train_loss": self._loss, "full_valid_loss": figures["loss"]}
        body = {"fine_tuned_model_checkpoint": adapter, "step_number": self._step, "metrics": metrics}
        self._tenant.objects.put(StoredObject(f"ftckpt-{new_id()}", CHECKPOINT, body, self._id))

    def _stopped(self) -> None:
        """Note that it was cancelled or paused; where the server ends it stays as it is, and goes on later."""
        status = self._status()
        if status == "cancelling":
            self.tell("warn", "The job was cancelled.")
            self._change("cancelled", finished_at=int(time.time()))
        elif status == "pausing":
            self.tell("info", "The job is paused.")
            self._change("paused")

    def _status(self) -> str:
        return str(self._tenant.objects.get(KIND, self._id).body["status"])

    def _failed(self, code: str, message: str) -> None:
        self.tell("error", message)
        error = {"code": code, "message": message, "param": None}
        self._change("failed", error=error, finished_at=int(time.time()))

    def _change(self, status: str, **fields: Any) -> None:  # noqa: ANN401 -- fields of a job
        wanted = ("cancelling", "pausing")

        def changed(body: Mapping[str, Any]) -> Mapping[str, Any]:
            if status in ("queued", "running") and body["status"] not in OPEN[:3]:
                raise CancelledJobError  # somebody ended it while it waited
            kept = body["status"] if body["status"] in wanted and status == "running" else status
            return {**body, **fields, "status": kept}

        self._body = self._tenant.objects.change(KIND, self._id, changed).body

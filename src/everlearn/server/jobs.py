"""Long work in the background: one thread, progress that can be watched, an outcome that can be asked for later."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from filelock import FileLock, Timeout

from everlearn.errors import ConflictError, EverlearnError, NotFoundError
from everlearn.store.ids import new_id

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED = frozenset({"succeeded", "failed", "cancelled"})
_KEPT = 1000
MOST_STEPS = 2000
LATER_SECONDS = 5.0
_LOCK = ".jobs.lock"
_log = logging.getLogger(__name__)


class CancelledJobError(Exception):
    """A job noticed that it was cancelled. Internal."""


class ElsewhereError(Exception):
    """Another server on the same folder works on its jobs. Internal."""


@final
@dataclass(slots=True)
class Job:
    """Work that was asked for.

    Attributes:
        id: of the job.
        tenant: whose; nobody else sees it.
        kind: "teach", "sleep", ...
        status: how far it is.
        stage: what is done just now.
        done: steps of the stage that are done.
        total: steps of the stage; 0 = not known.
        result: once it succeeded.
        error: once it failed, as the body of an error.
        created_at: seconds since 1970.
        ended_at: seconds since 1970, or None.
        subject: id of what it works on, where that outlives it.
        folder: of the tenant, where other servers on it would take the job up, too; None = nobody else knows of it.
        training: figures of the updates of its trainings, oldest first; long ones are thinned out.
    """

    tenant: str
    kind: str
    id: str = field(default_factory=lambda: f"job_{new_id()}")
    status: Status = "queued"
    stage: str = ""
    done: int = 0
    total: int = 0
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    created_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    subject: str = ""
    folder: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)
    version: int = 0
    training: list[dict[str, Any]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As the API shows it."""
        names = ("id", "kind", "status", "stage", "done", "total", "result", "error")
        shown = {name: getattr(self, name) for name in names}
        times = {"created_at": int(self.created_at), "ended_at": int(self.ended_at) if self.ended_at else None}
        return {"object": "job", **shown, **times, "training": self.training[-1] if self.training else None}

    def trained(self, of: str, figures: Mapping[str, float]) -> None:
        """Note the figures of an update of a training, and wake whoever watches."""
        with self.changed:
            n = self.training[-1]["n"] + 1 if self.training else 1
            if len(self.training) >= MOST_STEPS:
                self.training = self.training[::2]
            self.training.append({"n": n, "of": of, **figures})
            self.version += 1
            self.changed.notify_all()

    def update(self, **values: Any) -> None:  # noqa: ANN401 -- fields of a job
        """Change fields and wake whoever watches."""
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.version += 1
            self.changed.notify_all()


@final
class Progress:
    """What the work of a job tells of itself. Each call ends the work where the job was cancelled.

    Args:
        job: of the work.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def __call__(self, what: str, done: int, total: int) -> None:
        """So much of what is done now is done."""
        self._go_on()
        self._job.update(stage=what, done=done, total=total)

    def trained(self, of: str, figures: Mapping[str, float]) -> None:
        """The figures of an update of a training.

        Args:
            of: what is trained.
            figures: `step`, `steps`, `loss`, `task`, `replay`, `ewc`, `rate`, `seconds_left`, ...
        """
        self._go_on()
        self._job.trained(of, figures)

    def _go_on(self) -> None:
        if self._job.stop.is_set():
            raise CancelledJobError


Work = Callable[[Progress], Mapping[str, Any]]


@final
class Jobs:
    """Jobs of all tenants, done one after another, so that answers keep the machine to themselves otherwise.

    What a job learns is durable by itself; the list of jobs is not, and ends with the server. Batches and fine-tunings
    are kept by themselves, and go on when their tenant is opened again.
    """

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="everlearn-job")
        self._lock = threading.Lock()

    def start(self, tenant: str, kind: str, work: Work, *, subject: str = "", folder: Path | None = None) -> Job:
        """Queue work; it is called with a function that takes (what, done, all) and returns its result.

        With the `folder` of the tenant it waits while another server works on such a job of that folder.
        """
        job = Job(tenant, kind, subject=subject, folder=folder)
        with self._lock:
            self._jobs[job.id] = job
            for old in [i for i, j in self._jobs.items() if j.status in ENDED][: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[old]
        self._pool.submit(self._run, job, work)
        return job

    def of(self, tenant: str) -> list[Job]:
        """A tenant's jobs, newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.tenant == tenant]

    def stop(self, tenant: str, subject: str) -> bool:
        """End the jobs that work on something at their next step; returns whether one of them had begun."""
        mine = [job for job in self.of(tenant) if job.subject == subject]
        for job in mine:
            job.stop.set()
        return any(job.status == "running" for job in mine)

    def find(self, tenant: str, job_id: str) -> Job:
        """A tenant's job.

        Raises:
            NotFoundError: it has none of this id.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or job.tenant != tenant:
            raise NotFoundError(f"There is no job {job_id!r}.", hint="Jobs end with the server that ran them.")
        return job

    def cancel(self, tenant: str, job_id: str) -> Job:
        """End a job at its next step.

        Raises:
            NotFoundError: the tenant has none of this id.
            ConflictError: it has ended already.
        """
        job = self.find(tenant, job_id)
        if job.status in ENDED:
            raise ConflictError(f"Job {job_id} has {job.status} already.", hint="There is nothing to cancel.")
        job.stop.set()
        return job

    def close(self) -> None:
        """End all jobs at their next step."""
        for job in list(self._jobs.values()):
            job.stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job: Job, work: Work) -> None:
        try:
            if job.stop.is_set():
                raise CancelledJobError
            with _alone(job.folder):
                job.update(status="running")
                job.update(result=work(Progress(job)), status="succeeded", ended_at=time.time())
        except ElsewhereError:
            self._later(job, work)
        except CancelledJobError:
            job.update(status="cancelled", ended_at=time.time())
        except EverlearnError as error:
            told = {"code": error.code, "message": error.message, "hint": error.hint}
            job.update(status="failed", error=told, ended_at=time.time())
        except Exception as error:  # noqa: BLE001 -- a job must not end the thread of those behind it
            _log.exception("job %s failed", job.id)
            told = {"code": "internal_error", "message": f"{type(error).__name__}; see the server's log.", "hint": ""}
            job.update(status="failed", error=told, ended_at=time.time())

    def _later(self, job: Job, work: Work) -> None:
        """Try again once the other server may have finished, or ended; jobs of other folders go first."""

        def again() -> None:
            with suppress(RuntimeError):  # the pool is closed: this server ends, too
                self._pool.submit(self._run, job, work)

        timer = threading.Timer(LATER_SECONDS, again)
        timer.daemon = True
        timer.start()


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Hold the right to work on the kept jobs of a folder. The system takes it from a process that is killed.

    Raises:
        ElsewhereError: another server has it.
    """
    if folder is None:
        yield
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as cause:
        raise ElsewhereError from cause
    try:
        yield
    finally:
        lock.release()

"""The benchmark of forgetting: learn a stream by every method, score all tasks after each, sum up."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from everlearn.corpus.task_streams import Task
from everlearn.errors import InputError
from everlearn.evaluation.continual import scores_of, spread
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import where
from everlearn.learning.scoring import exact_answers
from everlearn.learning.stream_methods import (
    METHODS,
    AdapterPerTask,
    Bench,
    StreamMethod,
    StreamSettings,
    method_of,
    rows_of,
)

Progress = Callable[[int, int], None]
JOURNAL = "rows.jsonl"
_FIGURES = ("ACC", "BWT", "FWT", "forgetting", "learning_accuracy")


@final
@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What to measure.

    Attributes:
        tasks: seed -> its tasks, in the order of the stream.
        methods: names of methods.
        settings: of all of them.
        folder: keeps what was found, so that a measurement that was killed goes on at the same cell.
    """

    tasks: Mapping[int, Sequence[Task]]
    methods: Sequence[str]
    settings: StreamSettings
    folder: Path


@final
@dataclass(frozen=True, slots=True)
class StreamReport:
    """What was found.

    Attributes:
        tasks: names, in the order of the stream.
        untrained: b, score of the bare base on each task, in per cent.
        methods: name -> R, ACC, BWT, FWT, forgetting, learning_accuracy, seconds, bytes, intervals, runs.
        settings: of the measurement.
        where: machine, versions, commit.
    """

    tasks: list[str]
    untrained: list[float]
    methods: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    where: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"benchmark": "forgetting", **asdict(self)}


def run_stream(bench: Bench, plan: StreamPlan, progress: Progress | None = None) -> StreamReport:
    """Measure every cell that was not measured yet, and sum up.

    Args:
        bench: the base model and what belongs to it.
        plan: what to measure.
        progress: called with (rows done, all).
    """
    with Journal(plan.folder / JOURNAL) as journal:
        run = _Run(bench, plan, journal, progress)
        run.untrained()
        for seed in plan.tasks:
            for name in plan.methods:
                run.method(name, seed)
        return run.report()


@final
class _Run:
    """One measurement under way: rows are in the journal, weights between tasks in the folder."""

    def __init__(self, bench: Bench, plan: StreamPlan, journal: Journal, progress: Progress | None) -> None:
        self._bench, self._plan, self._journal, self._progress = bench, plan, journal, progress
        self._names = [task.name for task in next(iter(plan.tasks.values()))]
        self._where = where()

    def untrained(self) -> None:
        """Score the bare base."""
        if not any(self._journal.of("untrained")):
            tasks, model = next(iter(self._plan.tasks.values())), self._bench.model
            scores = []
            for task in tasks:
                with self._plan.settings.training.computing(model.device):
                    right = exact_answers(model, rows_of(task.test, self._bench.text, self._plan.settings))
                scores.append(100.0 * sum(right) / len(right))
            self._journal.append("untrained", scores=scores)
        self._tell()

    def method(self, name: str, seed: int) -> None:
        """Learn the stream by one method, from the task after the last row that is there."""
        tasks = list(self._plan.tasks[seed])
        stages = [_all_in_one(tasks)] if name == "joint" else tasks
        there = len(self._rows(name, seed))
        if there == len(stages):
            return
        home = self._plan.folder / f"{name}-{seed}"
        method = method_of(name, self._bench, self._plan.settings, seed, home)
        try:
            if there:
                method.load(home / f"after-{there}")
                if isinstance(method, AdapterPerTask):
                    method.know(tasks[:there])
            for number in range(there, len(stages)):
                self._row(method, name, seed, stages, number)
        finally:
            method.close()
        shutil.rmtree(home, ignore_errors=True)  # its rows are in the journal

    def report(self) -> StreamReport:
        """Sum up what the journal holds."""
        untrained = next(self._journal.of("untrained"))["scores"]
        found = {name: self._summed(name, untrained) for name in self._plan.methods}
        settings = {**asdict(self._plan.settings), "seeds": list(self._plan.tasks)}
        first = next(iter(self._plan.tasks.values()))
        settings["sizes"] = {t.name: [len(t.train), len(t.test)] for t in first}
        return StreamReport(self._names, untrained, found, settings, dict(self._where))

    def _row(self, method: StreamMethod, name: str, seed: int, stages: Sequence[Task], number: int) -> None:
        home = self._plan.folder / f"{name}-{seed}"
        start = time.perf_counter()
        method.learn(stages[number], stages[:number], home / f"training-{number}", None)
        seconds = time.perf_counter() - start
        method.save(home / f"after-{number + 1}")
        size = sum(p.stat().st_size for p in (home / f"after-{number + 1}").iterdir())
        # Tasks to come are scored, too (FWT). Those of this seed: their test cases are the same for every seed.
        scores = [method.score(task) for task in self._plan.tasks[seed]]
        self._journal.append("row", method=name, seed=seed, stage=number, scores=scores, seconds=seconds, bytes=size)
        shutil.rmtree(home / f"training-{number}", ignore_errors=True)
        shutil.rmtree(home / f"after-{number}", ignore_errors=True)
        self._tell()

    def _rows(self, name: str, seed: int) -> list[Mapping[str, Any]]:
        mine = [r for r in self._journal.of("row") if r["method"] == name and r["seed"] == seed]
        return sorted(mine, key=lambda r: int(r["stage"]))

    def _summed(self, name: str, untrained: Sequence[float]) -> dict[str, Any]:
        runs = []
        for seed in self._plan.tasks:
            rows = self._rows(name, seed)
            matrix = [row["scores"] for row in rows]
            seconds = sum(row["seconds"] for row in rows)
            runs.append({"seed": seed, "R": matrix, **scores_of(matrix, untrained).to_dict(), "seconds": seconds})
        shape = runs[0]["R"]
        mean = [[spread([r["R"][i][j] for r in runs])[0] for j in range(len(shape[0]))] for i in range(len(shape))]
        figures: dict[str, Any] = {"R": mean}
        intervals: dict[str, float] = {}
        for figure in _FIGURES:
            values = [r[figure] for r in runs]
            figures[figure], intervals[figure] = (None, 0.0) if None in values else spread(values)
        figures["seconds"] = spread([r["seconds"] for r in runs])[0]
        size = max(int(row["bytes"]) for seed in self._plan.tasks for row in self._rows(name, seed))
        return {**figures, "bytes": size, "intervals": intervals, "runs": runs}

    def _tell(self) -> None:
        if self._progress is None:
            return
        stages = {n: 1 if n == "joint" else len(self._names) for n in self._plan.methods}
        total = 1 + len(self._plan.tasks) * sum(stages.values())
        self._progress(sum(1 for kind in ("untrained", "row") for _ in self._journal.of(kind)), total)


def folder_name(setup: Mapping[str, Any]) -> str:
    """One folder for each thing that can be measured, so that cells of different ones never mix."""
    return "forgetting-" + hashlib.sha256(json.dumps(setup, sort_keys=True, default=str).encode()).hexdigest()[:12]


def chosen_methods(spoken: str) -> list[str]:
    """Names of methods from "all" or a list with commas."""
    names = list(METHODS) if spoken == "all" else [part.strip() for part in spoken.split(",")]
    for name in names:
        if name not in METHODS:
            raise InputError(f"There is no method {name!r}.", hint=f"There are: {', '.join(METHODS)}, or all.")
    return names


def _all_in_one(tasks: Sequence[Task]) -> Task:
    """All tasks as one, for joint training."""
    return Task("joint", [c for task in tasks for c in task.train], [c for task in tasks for c in task.test])

"""Progress bars on stderr, where a person looks at it; elsewhere nothing is shown and the work goes on the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from everlearn.cli.findings import size
from everlearn.cli.screen import err, is_terminal

Steps = Callable[[int, int], None]
Bytes = Callable[[str, int, int], None]

LEAST_BYTES = 100_000  # a smaller total counts steps of a conversion; no weights are that small


@final
class AmountColumn(ProgressColumn):
    """How much of how much is done: bytes, or steps where the total is too small for bytes."""

    def render(self, task: Task) -> Text:
        """The text of a task."""
        if not task.total:
            return Text("")
        if task.total < LEAST_BYTES:
            return Text(f"step {int(task.completed)} of {int(task.total)}", "dim")
        return Text(f"{size(int(task.completed))} of {size(int(task.total))}", "dim")


@contextmanager
def steps_progress(what: str) -> Iterator[Steps]:
    """A bar with counts and time left; the yielded function is called with (done, total)."""
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield step


@contextmanager
def named_steps_progress() -> Iterator[Bytes]:
    """A bar for each stage of a long work; the yielded function is called with (what, done, all)."""
    with _bar(MofNCompleteColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield step


@contextmanager
def weights_progress() -> Iterator[Bytes]:
    """A bar for each thing that is fetched or read; the yielded function is called with (what, done, all) in bytes."""
    with _bar(AmountColumn()) as bar:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield step


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life for work whose length is not known."""
    if not is_terminal(sys.stderr):
        yield
        return
    with err().status(what):
        yield


def _bar(amount: ProgressColumn) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    return Progress(*columns, console=err(), transient=True, disable=not is_terminal(sys.stderr))

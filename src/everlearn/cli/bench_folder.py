"""Where a measurement is kept while it runs, so that an interrupted one goes on and two may run at once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from everlearn.cli.opening import learner_in, open_parts
from everlearn.cli.screen import note

if TYPE_CHECKING:
    from everlearn.learning.learner import Learner
    from everlearn.wiring import Settings

BENCH = "bench"


class Options(Protocol):
    """What is measured: a dataclass with a `state` folder."""

    @property
    def restart(self) -> bool:
        """Whether to begin anew."""
        ...

    def as_settings(self) -> dict[str, Any]:
        """What the figures depend on."""
        ...


Chosen = TypeVar("Chosen", bound=Options)


def kept(kind: str, settings: Settings, options: Chosen) -> Chosen:
    """The same options with a `state` folder of their own; says so where an interrupted run goes on there."""
    what = json.dumps([settings.model, options.as_settings()], sort_keys=True, default=str)
    folder = settings.home / BENCH / f"{kind}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    if not options.restart and any(folder.glob(f"{kind}-*.jsonl")):
        note(f"going on with the run kept in {folder}; --restart begins anew")
    replaced: Chosen = dataclasses.replace(options, state=folder)  # type: ignore[type-var]
    return replaced


@contextmanager
def measuring(folder: Path, settings: Settings) -> Iterator[Learner]:
    """A learner in the folder of a run; a complete run leaves nothing behind, the next one shall measure anew."""
    with learner_in(folder, open_parts(settings), settings) as learner:
        yield learner
    shutil.rmtree(folder, ignore_errors=True)

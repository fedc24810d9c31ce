"""Where commands get what they work on. Torch is imported only where a model is asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from everlearn.cli.progress import weights_progress

if TYPE_CHECKING:
    from everlearn.engine.engine import Engine
    from everlearn.learning.learner import Learner
    from everlearn.specialists.shelf import AdapterShelf
    from everlearn.store.port import DerivedStore, LessonStore
    from everlearn.wiring import Parts, Settings


@dataclass(frozen=True, slots=True)
class Choice:
    """What the global options say; None = not given: the settings file or the default decides."""

    home: Path | None = None
    model: str | None = None


def choice_of(ctx: typer.Context) -> Choice:
    """The global options of a running command."""
    return ctx.obj if isinstance(ctx.obj, Choice) else Choice()


def settings_of(choice: Choice) -> Settings:
    """All settings, the given ones first."""
    from everlearn.wiring import load_settings

    return load_settings(home=choice.home, model=choice.model)


@contextmanager
def open_store(choice: Choice) -> Iterator[LessonStore]:
    """The lessons, without a model."""
    from everlearn import wiring

    with closing(wiring.open_store(settings_of(choice))) as store:
        yield store


@contextmanager
def open_derived(choice: Choice) -> Iterator[DerivedStore]:
    """What was derived of the lessons, without a model."""
    from everlearn import wiring

    with closing(wiring.open_derived(settings_of(choice))) as derived:
        yield derived


@contextmanager
def open_engine(choice: Choice) -> Iterator[Engine]:
    """The engine; weights that are missing are fetched first, with a progress bar."""
    from everlearn.wiring import load

    with weights_progress() as progress:
        engine = load(choice.model, home=choice.home, progress=progress)
    with closing(engine):
        yield engine


@contextmanager
def open_learner(choice: Choice, *, background: bool = False) -> Iterator[Learner]:
    """The learner, and through it the engine; `background` only where the command goes on after teaching."""
    from everlearn.learning.learner import Learner

    settings = settings_of(choice)
    nightly = settings.consolidate_every if background else 0
    with open_engine(choice) as engine:
        learner = Learner(engine, background=background, backup_policy=settings.backups, consolidate_every=nightly)
        with closing(learner):
            yield learner


def open_shelf(choice: Choice) -> AdapterShelf:
    """The kept adapters, without a model."""
    from everlearn.specialists.shelf import AdapterShelf

    return AdapterShelf(settings_of(choice).adapters_folder)


def open_parts(settings: Settings) -> Parts:
    """Weights that several engines may share; those missing are fetched first, with a progress bar."""
    from everlearn.wiring import load_parts

    with weights_progress() as progress:
        return load_parts(settings, progress)


@contextmanager
def learner_in(folder: Path, parts: Parts, settings: Settings) -> Iterator[Learner]:
    """A learner whose state lies in a folder of its own: what it is taught is none of the user's business."""
    from everlearn import wiring
    from everlearn.learning.learner import Learner

    own = settings.model_copy(update={"home": folder, "state": folder})
    engine = wiring.engine_over(parts, wiring.open_store(own), wiring.open_derived(own), quarantine=settings.quarantine)
    with closing(engine), closing(Learner(engine, background=False)) as learner:
        yield learner


@contextmanager
def passing_learner(parts: Parts, settings: Settings) -> Iterator[Learner]:
    """The same in an empty folder that goes with it."""
    # Windows keeps files a moment after they were closed; the system cleans its folder of temporary files itself.
    aside = tempfile.TemporaryDirectory(prefix="everlearn-", ignore_cleanup_errors=True)
    with aside as folder, learner_in(Path(folder), parts, settings) as learner:
        yield learner

"""Where adapters are kept: one folder a version, in PEFT's file format, and one pointer a name.

    adapters/support/3/adapter_config.json, adapter_model.safetensors   as PEFT writes and reads them
    adapters/support/3/lineage.json                                     what went into it
    adapters/support/current                                            the step that "support" means

A version is written aside and renamed into place, so it is there whole or not at all; it is never changed afterwards.
Going back is moving the pointer, which is one atomic replacement of a small file.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import final
from uuid import uuid4

from filelock import FileLock, Timeout

from everlearn.errors import (
    AdapterNotFoundError,
    ConflictError,
    CorruptWeightsError,
    StoreBusyError,
    StoreFullError,
    StoreReadOnlyError,
)
from everlearn.specialists.adapter import Adapter, checked_name, from_json, parsed, to_json

CONFIG, WEIGHTS, LINEAGE, POINTER = "adapter_config.json", "adapter_model.safetensors", "lineage.json", "current"
CHANGED = ".changed"
_LOCK_SECONDS = 10.0


@final
class AdapterShelf:
    """All versions of all adapters of a state folder. Safe with several processes.

    Args:
        folder: made where it is missing, at the first version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def stamp(self) -> int:
        """Another number after every change, also of another process; 0 while nothing was ever kept."""
        try:
            return (self.folder / CHANGED).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def names(self) -> list[str]:
        """Names that have at least one version, sorted."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if p.is_dir() and self._steps(p.name))

    def versions(self, name: str) -> list[Adapter]:
        """All versions of a name, oldest first."""
        return [self._read(name, step) for step in self._steps(checked_name(name))]

    def all(self) -> list[Adapter]:
        """All versions of all names."""
        return [version for name in self.names() for version in self.versions(name)]

    def find(self, spoken: str) -> Adapter:
        """The version that "name" (its current one) or "name@step" means.

        Raises:
            AdapterNotFoundError: there is none, or the name's pointer was taken away.
        """
        name, step = parsed(spoken)
        step = self.current(name) if step is None else step
        if step is None or step not in self._steps(name):
            known = self.names()
            near = difflib.get_close_matches(name, known, n=1)
            here = f"{name} has the steps {', '.join(map(str, self._steps(name)))}." if name in known else ""
            hint = here or (f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known) or 'none yet'}.")
            raise AdapterNotFoundError(f"There is no adapter {spoken!r}.", hint=hint)
        return self._read(name, step)

    def current(self, name: str) -> int | None:
        """The step that the bare name means; None where it means none."""
        try:
            text = (self.folder / checked_name(name) / POINTER).read_text("ascii").strip()
        except FileNotFoundError:
            return None
        if not text.isdigit():
            raise CorruptWeightsError(
                f"The pointer of adapter {name!r} holds {text!r}, wanted a step.", hint=f"Point it anew: {name}@step."
            )
        return int(text) or None

    def path(self, adapter: Adapter) -> Path:
        """The folder of a version."""
        return self.folder / adapter.name / str(adapter.step)

    def put(self, draft: Adapter, write: Callable[[Path], str]) -> Adapter:
        """Keep a new version. The pointer stays where it is.

        Args:
            draft: its lineage; step, weights and created_at are filled in.
            write: writes configuration and weights into the empty folder it is given; returns the weights' digest.

        Returns:
            The version as kept, with the step after the newest.

        Raises:
            StoreFullError, StoreReadOnlyError: it cannot be written; nothing was changed.
        """
        home = self.folder / checked_name(draft.name)
        aside = home / f".{uuid4().hex[:8]}.part"
        with self._writing(draft.name):
            step = max([*self._steps(draft.name), self._highest(home)], default=0) + 1
            try:
                aside.mkdir()
                kept = dataclasses.replace(draft, step=step, weights=write(aside), created_at=datetime.now(UTC))
                (aside / LINEAGE).write_text(to_json(kept), "utf-8")
                _flush(aside)
                aside.rename(home / str(step))
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        return kept

    def point(self, name: str, step: int | None) -> None:
        """Let the bare name mean a step, or (None) nothing. Rollback is this and no more.

        Raises:
            AdapterNotFoundError: no such version.
        """
        if step is not None:
            self.find(f"{name}@{step}")
        with self._writing(name):
            part = self.folder / name / f".{POINTER}.{uuid4().hex[:8]}.part"
            with part.open("w", encoding="ascii") as file:
                file.write(f"{step or 0}\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / name / POINTER)

    def remove(self, spoken: str) -> None:
        """Delete a version's weights for good.

        Raises:
            AdapterNotFoundError: no such version.
            ConflictError: the bare name means it; point it elsewhere first.
        """
        adapter = self.find(spoken)
        with self._writing(adapter.name):
            if self.current(adapter.name) == adapter.step:
                raise ConflictError(f"{adapter.id} is in use.", hint="Roll back to another version first.")
            aside = self.folder / adapter.name / f".{uuid4().hex[:8]}.gone"
            self.path(adapter).rename(aside)  # gone at once, whatever happens while its files are deleted
            shutil.rmtree(aside)

    def trained_on(self, lesson_id: str) -> list[Adapter]:
        """Versions whose lineage has a lesson."""
        return [adapter for adapter in self.all() if lesson_id in adapter.lessons]

    def _steps(self, name: str) -> list[int]:
        home = self.folder / name
        if not home.is_dir():
            return []
        return sorted(int(p.name) for p in home.iterdir() if p.name.isdigit() and (p / LINEAGE).is_file())

    def _highest(self, home: Path) -> int:
        """The highest step ever given: a number is not used twice, also after its version was removed."""
        mark = home / ".steps"
        highest = int(mark.read_text("ascii") or 0) if mark.exists() else 0
        mark.write_text(str(max([highest, *self._steps(home.name)], default=0) + 1), "ascii")
        return highest

    def _read(self, name: str, step: int) -> Adapter:
        path = self.folder / name / str(step) / LINEAGE
        return from_json(path.read_text("utf-8"), str(path))

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        home = self.folder / name
        try:
            home.mkdir(parents=True, exist_ok=True)
            with FileLock(home / ".lock", timeout=_LOCK_SECONDS):
                yield
                (self.folder / CHANGED).write_text(uuid4().hex, "ascii")
        except Timeout as cause:
            raise StoreBusyError(f"Another process writes adapter {name!r}.", hint="Try again.") from cause
        except PermissionError as cause:
            raise StoreReadOnlyError(f"{home} cannot be written: {cause}.", hint="Mind the rights.") from cause
        except OSError as cause:
            raise StoreFullError(f"{home} cannot be written: {cause}.", hint="Free some room.") from cause


def _flush(folder: Path) -> None:
    """Make the files of a folder durable before it is renamed into place."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())

"""Checks of the state folder: disk, rights, weights, lessons."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from everlearn.cli.findings import GIGABYTE, Finding, size
from everlearn.errors import EverlearnError
from everlearn.store.health import flaw_of, layout_of

if TYPE_CHECKING:
    from everlearn.wiring import Settings

LEAST_DISK = 100_000_000
ROOM_FOR_WEIGHTS = GIGABYTE
LESSONS, DERIVED, MODELS = "lessons.db", "derived.db", "models"


def home_checks(settings: Settings, *, verify: bool) -> list[Finding]:
    """All checks of the state folder. Nothing is made or changed."""
    return [
        home(settings.home),
        disk(settings.home),
        weights("base model", settings.model, settings.home, verify=verify),
        weights("encoder", settings.encoder, settings.home, verify=verify),
        lessons(settings),
        derived(settings.state_folder),
    ]


def home(folder: Path) -> Finding:
    """Can the state folder be written?"""
    if not folder.exists():
        parent = next(p for p in folder.parents if p.exists())
        if _writable(parent):
            return Finding("home", "ok", f"{folder} is not there yet; it is made at first use")
        return Finding(
            "home", "fail", f"{folder} cannot be made in {parent}", "Choose a folder of your own with --home."
        )
    if not folder.is_dir():
        return Finding("home", "fail", f"{folder} is a file", "Choose a folder with --home.")
    found = f"{folder} ({_contents(folder)})"
    if not _writable(folder):
        return Finding(
            "home", "warn", f"{found} cannot be written: asking works, teaching does not", "Mend its rights."
        )
    return Finding("home", "ok", found)


def disk(folder: Path) -> Finding:
    """Is there room on the disk?"""
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    found = f"{size(free)} free"
    if free < LEAST_DISK:
        return Finding("disk", "fail", found, "Free some, or choose a folder on another disk with --home.")
    if free < ROOM_FOR_WEIGHTS and not (folder / MODELS).exists():
        return Finding(
            "disk", "warn", found, "The weights of the default models need about 1 GB while they are fetched."
        )
    return Finding("disk", "ok", found)


def weights(what: str, name: str, home_folder: Path, *, verify: bool) -> Finding:
    """Are the weights there and whole?"""
    from everlearn.models import folders
    from everlearn.models.catalogue import CATALOGUE

    packaged = CATALOGUE.get(name.lower())
    folder = home_folder / MODELS / packaged.alias if packaged else Path(name).expanduser()
    if packaged and not folder.exists():
        return Finding(what, "ok", f"{name} is fetched at first use ({size(packaged.download_bytes)})")
    if not packaged and not folder.exists():
        return Finding(
            what, "warn", f"{name} is neither an alias nor here; it is looked for on the hub", "See --model."
        )
    if packaged and not folders.ready(folder):
        return Finding(
            what, "warn", f"{name} is incomplete", "It is fetched again at the next start; or delete its folder."
        )
    try:
        if verify:
            folders.verify(folder)
    except EverlearnError as error:
        return Finding(what, "fail", error.message, error.hint)
    return Finding(
        what, "ok", f"{name} ({_contents(folder)}{', every byte as expected' if verify and packaged else ''})"
    )


def lessons(settings: Settings) -> Finding:
    """Are the lessons readable and undamaged?"""
    path = settings.state_folder / LESSONS
    if not path.exists():
        return Finding("lessons", "ok", "none yet")
    flaw = flaw_of(path)
    if flaw:
        return Finding("lessons", "fail", f"{path} is damaged: {flaw}", "Put a copy of it back, or load a checkpoint.")
    try:
        return Finding("lessons", "ok", f"{_counts(settings)}, layout {layout_of(path)}, {size(path.stat().st_size)}")
    except EverlearnError as error:
        return Finding("lessons", "fail", error.message, error.hint)


def derived(folder: Path) -> Finding:
    """Is what was derived of the lessons undamaged? It can be made anew."""
    path = folder / DERIVED
    if not path.exists():
        return Finding("derived", "ok", "nothing yet")
    flaw = flaw_of(path)
    if flaw:
        return Finding("derived", "warn", f"{path} is damaged: {flaw}", "Delete it; it is made anew from the lessons.")
    return Finding("derived", "ok", f"vectors and corrections, {size(path.stat().st_size)}")


def _counts(settings: Settings) -> str:
    from everlearn.wiring import open_store

    with closing(open_store(settings)) as store:
        tables = store.tables()
    active, replaced = sum(t.active for t in tables), sum(t.superseded for t in tables)
    return f"{active:,} active, {replaced:,} replaced, in {len(tables):,} table{'s' * (len(tables) != 1)}"


def _writable(folder: Path) -> bool:
    """Whether a file can be made there; rights alone do not tell on every system."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _contents(path: Path) -> str:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return f"{len(files):,} file{'s' * (len(files) != 1)}, {size(sum(each.stat().st_size for each in files))}"

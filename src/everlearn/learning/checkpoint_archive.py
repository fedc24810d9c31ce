"""Checkpoints that hold adapters too: lessons, adapters, router, replay and anchors in one file, whole or not at all.

An archive is an uncompressed .zip:

    manifest.json       the base model and its digest; sha256 and size of every other file
    lessons.jsonl       tables and lessons with their history, as in a checkpoint without adapters
    adapters/...        what the folder of adapters holds: versions in PEFT's form, pointers, anchors (Fisher weights),
                        the router, examples to replay, the log of verdicts

There is no pickle in it. Where nothing was ever consolidated, a checkpoint is the lessons alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final
from uuid import uuid4

from everlearn.engine.engine import Engine
from everlearn.errors import (
    AdapterMismatchError,
    FileFormatError,
    SettingsError,
    StoreFullError,
    StoreReadOnlyError,
)
from everlearn.learning import checkpoint
from everlearn.learning.sleep_lock import asleep
from everlearn.learning.unlearning import unlearn
from everlearn.records import Lesson, TableSettings
from everlearn.specialists.shelf import CHANGED, AdapterShelf
from everlearn.store.port import LessonStore

FORM = 1
_NAME = "everlearn_checkpoint_archive"
_MANIFEST, _LESSONS, _ADAPTERS = "manifest.json", "lessons.jsonl", "adapters/"
_MEMBER = re.compile(r"adapters/(?:[A-Za-z0-9][\w-]*/){0,2}(?:\.steps|[A-Za-z0-9][\w.-]*)")
_PORTION = 1 << 20
_ANOTHER = "Use another copy."


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """What a checkpoint holds, every byte of it checked.

    Attributes:
        tables: name -> settings.
        lessons: with their history.
        adapters: folder with the adapters as they were, ready to take the place of the present one; it may be empty.
    """

    tables: Mapping[str, TableSettings]
    lessons: Sequence[Lesson]
    adapters: Path


def save(store: LessonStore, shelf: AdapterShelf | None, path: Path, *, model: str, digest: str) -> Path:
    """Write a checkpoint: an archive where there are adapters, the lessons alone where there are none.

    Args:
        store: tables and lessons.
        shelf: adapters; None = the engine has no folder for them.
        path: the file; an older one is replaced only once the new one is complete.
        model: name of the base model.
        digest: of its weights; adapters fit no other.

    Raises:
        StoreBusyError: a sleep is under way, so adapters are about to change.
        StoreFullError, StoreReadOnlyError: the file cannot be written; an older one is left as it was.
    """
    if shelf is None or not shelf.stamp:
        return checkpoint.save(store, path, model=model)
    with (
        _writing(path) as part,
        TemporaryDirectory(dir=part.parent, prefix=".checkpoint") as aside,
        asleep(shelf.folder),
    ):
        lessons = checkpoint.save(store, Path(aside) / _LESSONS, model=model)
        kept = {_ADAPTERS + p.relative_to(shelf.folder).as_posix(): p for p in _files(shelf.folder)}
        _pack(part, {_LESSONS: lessons, **kept}, {"model": model, "digest": digest})
    return path


@contextmanager
def opened(path: Path, *, model: str, digest: str, beside: Path) -> Iterator[Whole]:
    """Read a checkpoint of either form and check every byte of it. Nothing is changed yet.

    Args:
        path: the file.
        model: name of the base model.
        digest: of its weights.
        beside: an existing folder; the adapters are unpacked into a folder of it, on the disk that they go to.

    Raises:
        FileFormatError: no checkpoint, damaged, cut short, or of a newer form.
        AdapterMismatchError: its adapters belong to another base model.
        StoreFullError, StoreReadOnlyError: there is no room to unpack it.
    """
    try:
        with TemporaryDirectory(dir=beside, prefix=".checkpoint") as aside:
            folder = Path(aside)
            if checkpoint.is_archive(path):
                _unpack(path, folder, model=model, digest=digest)
                lessons = folder / _LESSONS
            else:
                lessons = path
            tables, found = checkpoint.read(lessons)
            (folder / _ADAPTERS).mkdir(exist_ok=True)
            yield Whole(tables, found, folder / _ADAPTERS)
    except OSError as cause:
        raise _unwritable(beside, cause) from cause


@contextmanager
def replaced(shelf: AdapterShelf, new: Path) -> Iterator[None]:
    """Put a folder of adapters in the place of the present one; put back where the body fails.

    Raises:
        StoreBusyError: a sleep is under way.
    """
    home = shelf.folder
    home.mkdir(parents=True, exist_ok=True)
    with asleep(home):
        old = home.with_name(f".{home.name}.{uuid4().hex[:8]}.old")
        home.rename(old)
        try:
            new.rename(home)
            if any(_files(home)):
                (home / CHANGED).write_text(uuid4().hex, "ascii")
            yield
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            old.rename(home)
            raise
        shutil.rmtree(old)


def restore(engine: Engine, path: Path) -> int:
    """Make a checkpoint the whole state of an engine; returns the number of lessons.

    Adapters that were trained since go; a checkpoint without adapters leaves none.

    Raises:
        FileFormatError, AdapterMismatchError, StoreBusyError, StoreFullError, StoreReadOnlyError: nothing was changed.
    """
    memory, specialists = engine.memory, engine.specialists
    if specialists is None:
        if checkpoint.is_archive(path):
            raise SettingsError(
                f"{path} holds adapters, and this engine has no folder for them.", hint="Open it with everlearn.load()."
            )
        tables, lessons = checkpoint.read(path)
        with memory.lock:
            memory.store.replace_all(lessons, tables)
            memory.refresh()
        return len(lessons)
    shelf = specialists.shelf
    shelf.folder.parent.mkdir(parents=True, exist_ok=True)
    with opened(path, model=engine.name, digest=engine.model.digest, beside=shelf.folder.parent) as whole, memory.lock:
        with replaced(shelf, whole.adapters) if shelf.stamp or any(_files(whole.adapters)) else nullcontext():
            memory.store.replace_all(whole.lessons, whole.tables)
        memory.refresh()
        return len(whole.lessons)


def rewrite_without(path: Path, ids: Collection[str]) -> None:
    """Write an archive anew without some of its lessons, and without the adapters that were trained on them.

    Raises:
        FileFormatError: no archive, or damaged; it is left as it is.
        StoreFullError, StoreReadOnlyError: it cannot be written; it is left as it is.
    """
    with _writing(path) as part, TemporaryDirectory(dir=part.parent, prefix=".checkpoint") as aside:
        folder = Path(aside)
        manifest = _unpack(path, folder)
        checkpoint.rewrite_without(folder / _LESSONS, ids)
        unlearn(AdapterShelf(folder / _ADAPTERS), ids)
        kept = {_ADAPTERS + p.relative_to(folder / _ADAPTERS).as_posix(): p for p in _files(folder / _ADAPTERS)}
        _pack(part, {_LESSONS: folder / _LESSONS, **kept}, {k: manifest[k] for k in ("model", "digest")})


def _files(folder: Path) -> list[Path]:
    """What is worth keeping: no locks, no halves, no training under way."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return [p for p in paths if _MEMBER.fullmatch(_ADAPTERS + p.relative_to(folder).as_posix())]


def _pack(part: Path, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
    described: dict[str, Any] = {}
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, source in files.items():
            digest, size = hashlib.sha256(), 0
            with source.open("rb") as file, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                while block := file.read(_PORTION):
                    digest.update(block)
                    size += len(block)
                    member.write(block)
            described[name] = {"sha256": digest.hexdigest(), "bytes": size}
        head = json.dumps({_NAME: FORM, **about, "files": described}, indent=1) + "\n"
        archive.writestr(zipfile.ZipInfo(_MANIFEST), head)
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _unpack(path: Path, folder: Path, *, model: str = "", digest: str = "") -> dict[str, Any]:
    """Unpack and check an archive; returns its manifest. With a digest, another base model is refused first."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(path, archive)
            if digest and manifest["digest"] != digest:
                raise AdapterMismatchError(
                    f"{path} holds adapters of {manifest['model']} ({manifest['digest'][:12]}), this is {model} "
                    f"({digest[:12]}).",
                    hint="Open it with its own base model; lessons alone move in a bundle (`tables export`).",
                )
            for name, wanted in manifest["files"].items():
                _unpack_one(archive, name, folder / name, wanted, path)
    except (zipfile.BadZipFile, EOFError, KeyError) as cause:
        raise FileFormatError(f"The checkpoint {path} is damaged or cut short: {cause}.", hint=_ANOTHER) from cause
    return manifest


def _unpack_one(archive: zipfile.ZipFile, name: str, target: Path, wanted: Mapping[str, Any], path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), int(wanted["bytes"])
    with archive.open(name) as member, target.open("wb") as file:
        while left >= 0 and (block := member.read(_PORTION)):
            left -= len(block)  # a member that is longer than it says does not fill the disk
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if left or digest.hexdigest() != wanted["sha256"]:
        raise FileFormatError(f"{name} in {path} is damaged: its sha256 does not fit.", hint=_ANOTHER)


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(archive.read(_MANIFEST))
        form = int(manifest[_NAME])
        names = set(manifest["files"])
        fits = all(isinstance(manifest[k], str) for k in ("model", "digest")) and _LESSONS in names
        fits = fits and all(n == _LESSONS or _MEMBER.fullmatch(n) for n in names)
        fits = fits and names | {_MANIFEST} == set(archive.namelist())
    except (KeyError, TypeError, ValueError) as cause:
        raise FileFormatError(f"{path} is no checkpoint: its manifest is missing or damaged.", hint=_ANOTHER) from cause
    if form > FORM:
        raise FileFormatError(f"{path} has form {form}, newer than {FORM}.", hint="Update everlearn.")
    if not fits:
        raise FileFormatError(f"{path} is no checkpoint: its files are not those of its manifest.", hint=_ANOTHER)
    return manifest


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the body has ended well."""
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except BaseException as cause:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(cause, OSError):
            raise _unwritable(path, cause) from cause
        raise


def _unwritable(path: Path, cause: OSError) -> StoreFullError | StoreReadOnlyError:
    kind = StoreReadOnlyError if isinstance(cause, PermissionError) else StoreFullError
    return kind(f"The checkpoint cannot be written to {path}: {cause}.", hint="Choose another place.")

"""The files of a bundle: written aside and renamed, read only when every byte is as its manifest says.

A bundle is a folder, or the same folder in one .zip file:

    manifest.json           what it is: table, settings, base model, encoder, sha256 of every other file
    README.md               the same for people: a model card
    lessons.jsonl           lessons with their history, one a line
    entries.safetensors     keys [M, K] float32, and the packed values of the entries

There is no pickle in it, and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from everlearn.errors import ConflictError, FileFormatError, StoreFullError, StoreReadOnlyError

FORM = 1
NAME = "everlearn_bundle"
MANIFEST = "manifest.json"
CARD = "README.md"
LESSONS = "lessons.jsonl"
ENTRIES = "entries.safetensors"
NAMES = frozenset({MANIFEST, CARD, LESSONS, ENTRIES})
_MOST_BYTES = 64 << 30  # of one file: a damaged or hostile .zip does not fill the disk


def write(path: Path, files: Mapping[str, bytes], manifest: Mapping[str, Any], *, force: bool = False) -> Path:
    """Write a bundle, a folder or (named .zip) one file. It appears complete or not at all.

    Args:
        path: where to.
        files: contents by name, without the manifest.
        manifest: gets the sha256 and size of each file.
        force: replace what is there.

    Raises:
        ConflictError: something is there already.
        StoreFullError, StoreReadOnlyError: it cannot be written; what was there is left as it was.
    """
    if path.exists() and not force:
        raise ConflictError(f"{path} is there already.", hint="Choose another name, or replace it with --force.")
    about = {name: {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)} for name, body in files.items()}
    head = json.dumps({NAME: FORM, **manifest, "files": about}, ensure_ascii=False, indent=2) + "\n"
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        complete = {**files, MANIFEST: head.encode()}
        if path.suffix == ".zip":
            _write_zip(part, complete)
        else:
            _write_folder(part, complete)
        _swap(part, path)
    except OSError as cause:
        with suppress(OSError):  # where the folder itself cannot be used, there is no part to remove
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        kind = StoreReadOnlyError if isinstance(cause, PermissionError) else StoreFullError
        raise kind(f"The bundle {path} cannot be written: {cause}.", hint="Choose another place.") from cause
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a bundle and check every byte of it; returns the manifest and the files by name.

    Raises:
        FileFormatError: no bundle, of a newer form, a file missing, one too many, or one that is not as the manifest
            says; the message names it.
    """
    try:
        found = _zip_files(path) if path.is_file() else _folder_files(path)
    except (OSError, zipfile.BadZipFile) as cause:
        raise FileFormatError(f"The bundle {path} cannot be read: {cause}.", hint="Is the path right?") from cause
    manifest = _manifest(path, found.pop(MANIFEST, b""))
    wanted = manifest["files"]
    for name in sorted({*wanted, *found}):
        if name not in found:
            raise FileFormatError(f"{path} is incomplete: {name} is missing.", hint="Use another copy.")
        if name not in wanted:
            raise FileFormatError(f"{path} holds {name}, which its manifest does not name.", hint="Use another copy.")
        if hashlib.sha256(found[name]).hexdigest() != wanted[name]["sha256"]:
            raise FileFormatError(
                f"{name} in {path} is damaged or was changed: its sha256 does not fit.", hint="Use another copy."
            )
    return manifest, found


def _manifest(path: Path, body: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(body)
        known = isinstance(manifest, dict) and isinstance(manifest[NAME], int)
        known = known and all(name in NAMES and isinstance(a["sha256"], str) for name, a in manifest["files"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise FileFormatError(
            f"{path} is no bundle: {MANIFEST} is missing or damaged.", hint="Export one with: tables export"
        )
    if manifest[NAME] > FORM:
        raise FileFormatError(f"{path} has form {manifest[NAME]}, newer than {FORM}.", hint="Update everlearn.")
    return dict(manifest)


def _folder_files(path: Path) -> dict[str, bytes]:
    unknown = sorted(p.name for p in path.iterdir() if p.name not in NAMES)
    if unknown:
        raise FileFormatError(f"{path} holds {unknown[0]}, which no bundle has.", hint="Use another copy.")
    return {p.name: p.read_bytes() for p in path.iterdir()}


def _zip_files(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename not in NAMES or info.file_size > _MOST_BYTES:
                raise FileFormatError(f"{path} holds {info.filename}, which no bundle has.", hint="Use another copy.")
        return {name: archive.read(name) for name in archive.namelist()}


def _write_folder(part: Path, files: Mapping[str, bytes]) -> None:
    part.mkdir()
    for name, body in files.items():
        with (part / name).open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())


def _write_zip(part: Path, files: Mapping[str, bytes]) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name), body)  # without a time: equal content, equal bytes
    with part.open("wb") as file:
        file.write(whole.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def _swap(part: Path, path: Path) -> None:
    """Put the new bundle where the old one is; a folder cannot replace a folder, so the old one steps aside."""
    if not path.is_dir():
        part.replace(path)
        return
    aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}.old")
    path.replace(aside)
    part.replace(path)
    shutil.rmtree(aside)

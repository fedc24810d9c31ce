"""Checkpoints: all tables and lessons, with their history, in one file that is written whole or not at all.

JSON lines: the first names the form, the tables and the number of lessons; then one line for each lesson; the last
holds the sha256 of all before it. Vectors and corrections are not in it: they are derived again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from everlearn.corpus.lesson_fields import STORE_FIELDS, lesson_of, row_of
from everlearn.errors import FileFormatError, InputError, StoreFullError, StoreReadOnlyError
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonStore
from everlearn.store.rules import check_tables

FORM = 2  # 2: lessons have kinds, tables settings for context; 1 is still read
_NAME = "everlearn_checkpoint"
_LATER_FIELDS = ("quarantine", "sealed")  # which older checkpoints have not


def save(store: LessonStore, path: Path, *, model: str) -> Path:
    """Write a checkpoint; an existing file is replaced only once the new one is complete.

    Args:
        store: what to write.
        path: the file; its folder is made where it is missing.
        model: name of the base model, for the reader's information.

    Raises:
        StoreFullError, StoreReadOnlyError: the file cannot be written; an older one is left as it was.
    """
    return _write(path, _lines(store, model))


def is_archive(path: Path) -> bool:
    """Whether a file is a checkpoint with adapters, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def rewrite_without(path: Path, ids: Collection[str]) -> None:
    """Write a checkpoint anew without some of its lessons; what they had superseded is as if they had never been.

    Raises:
        FileFormatError: no checkpoint, or damaged; it is left as it is.
        StoreFullError, StoreReadOnlyError: it cannot be written; it is left as it is.
    """
    _, lessons = read(path)
    head = _parsed(path.read_bytes().splitlines(keepends=True)[0], path)
    heirs = {lesson.id: lesson.superseded_by for lesson in lessons}
    kept = [_relinked(lesson, heirs, ids) for lesson in lessons if lesson.id not in ids]
    _write(path, [_line({**head, "lessons": len(kept)}), *(_line(row_of(lesson)) for lesson in kept)])


def _relinked(lesson: Lesson, heirs: Mapping[str, str], gone: Collection[str]) -> Lesson:
    heir = lesson.superseded_by
    while heir in gone:
        heir = heirs[heir]
    return dataclasses.replace(lesson, status="superseded" if heir else "active", superseded_by=heir)


def _write(path: Path, lines: Iterable[bytes]) -> Path:
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            digest = hashlib.sha256()
            for line in lines:
                digest.update(line)
                file.write(line)
            file.write(_line({"sha256": digest.hexdigest()}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as cause:
        with suppress(OSError):  # where the folder itself cannot be used, there is no part to remove
            part.unlink(missing_ok=True)
        kind = StoreReadOnlyError if isinstance(cause, PermissionError) else StoreFullError
        raise kind(f"The checkpoint {path} cannot be written: {cause}.", hint="Choose another place.") from cause
    return path


def read(path: Path) -> tuple[dict[str, TableSettings], list[Lesson]]:
    """Read a checkpoint and check every byte of it.

    Raises:
        FileFormatError: no checkpoint, damaged, cut short, of a newer form, or its lessons name tables or successors
            that are not in it.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as cause:
        raise FileFormatError(f"The checkpoint {path} cannot be read: {cause}.", hint="Is the path right?") from cause
    head = _parsed(lines[0], path) if lines else {}
    if _NAME not in head:
        raise FileFormatError(f"{path} is no checkpoint.", hint="`save_checkpoint` writes one.")
    if head[_NAME] > FORM:
        raise FileFormatError(f"{path} has form {head[_NAME]}, newer than {FORM}.", hint="Update everlearn.")
    wanted = _parsed(lines[-1], path).get("sha256")
    if wanted != hashlib.sha256(b"".join(lines[:-1])).hexdigest():
        raise FileFormatError(f"{path} is damaged or cut short: its sha256 does not fit.", hint="Use another copy.")
    tables = _tables(head, path)
    lessons = [lesson_in(_parsed(line, path), path) for line in lines[1:-1]]
    check_links(tables, lessons, path)
    return tables, lessons


def _lines(store: LessonStore, model: str) -> Iterator[bytes]:
    lessons, infos = store.snapshot()
    tables = {info.name: dataclasses.asdict(info.settings) for info in infos}
    saved_at = datetime.now(UTC).isoformat()
    yield _line({_NAME: FORM, "model": model, "saved_at": saved_at, "tables": tables, "lessons": len(lessons)})
    for lesson in lessons:
        yield _line(row_of(lesson))


def _line(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as cause:
        raise FileFormatError(f"{path} is no checkpoint, or damaged: {cause}.", hint="Use another copy.") from cause
    if not isinstance(values, dict):
        raise FileFormatError(f"{path} is no checkpoint.", hint="`save_checkpoint` writes one.")
    return values


def _tables(head: dict[str, Any], path: Path) -> dict[str, TableSettings]:
    try:
        tables = {
            name: TableSettings(**{**values, "blocks": tuple(values["blocks"])})
            for name, values in head["tables"].items()
        }
        check_tables(tables)
    except (KeyError, TypeError, AttributeError, InputError) as cause:
        raise FileFormatError(f"{path} holds a table that cannot be read: {cause}", hint="Use another copy.") from cause
    return tables


def lesson_in(row: dict[str, Any], path: Path) -> Lesson:
    """The lesson that a row of `path` holds, with all that the store gave it.

    Raises:
        FileFormatError: a field is missing, or of another kind.
    """
    try:
        kept = dict.fromkeys(_LATER_FIELDS, "") | {
            name: row[name] for name in STORE_FIELDS if name in row or name not in _LATER_FIELDS
        }
        kept["taught_at"] = _moment(kept["taught_at"])
        return dataclasses.replace(lesson_of(row, table=None), **kept)
    except (KeyError, TypeError, ValueError, OverflowError) as cause:
        raise FileFormatError(
            f"{path} holds a lesson that cannot be read: {cause}", hint="Use another copy."
        ) from cause


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"taught_at is {text!r}, wanted a time with its zone")
    return moment.astimezone(UTC)


def check_links(tables: Mapping[str, TableSettings], lessons: Sequence[Lesson], path: Path) -> None:
    """See that all that lessons point to is in the same file.

    Raises:
        FileFormatError: it is not.
    """
    ids = {lesson.id for lesson in lessons}
    if len(ids) < len(lessons) or "" in ids:
        raise FileFormatError(f"{path} holds lessons without an id of their own.", hint="Use another copy.")
    for lesson in lessons:
        if lesson.table not in tables:
            raise FileFormatError(
                f"{path} holds lesson {lesson.id} of table {lesson.table!r}, but not that table.",
                hint="Use another copy, or save it again.",
            )
        heir = lesson.superseded_by
        wanted = ("superseded",) if heir else ("active", "quarantined")
        if lesson.status not in wanted or (heir and heir not in ids):
            raise FileFormatError(
                f"{path} holds lesson {lesson.id}, {lesson.status}, replaced by {heir or 'none'!r}: that does not fit.",
                hint="Use another copy.",
            )

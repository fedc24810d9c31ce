"""Lesson files: JSONL, CSV and TSV, read and written as streams of lessons in constant memory.

A JSONL file holds one object a line, a JSON file one array of them; a CSV or TSV file begins with its column names.
Fields: prompt and answer; optional are table, domain, importance, source, author, tenant, valid_from and valid_to.
Read as well are question/answer, prompt/target, input/output and instruction/output (with "input").
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from everlearn.corpus.json_rows import json_array_rows, json_line_rows
from everlearn.corpus.lesson_fields import FIELDS, STORE_FIELDS, lesson_of, row_of
from everlearn.corpus.rows import Row
from everlearn.corpus.separated_rows import separated_rows
from everlearn.corpus.text_lines import CHUNK_BYTES, text_lines
from everlearn.errors import FileFormatError, InputError
from everlearn.records import Lesson

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class LessonLine:
    """What one line of a file holds.

    Attributes:
        number: of the line that the lesson begins at, from 1.
        lesson: that is written there, or None.
        error: why there is none, or None.
    """

    number: int
    lesson: Lesson | None
    error: str | None


def read_lessons(path: Path, *, table: str | None = None) -> Iterator[LessonLine]:
    """All lessons of a file, line by line; a line that cannot be read is reported and the next one follows.

    Args:
        path: ends in one of `SUFFIXES`.
        table: where all lessons go; None = each into its own table.

    Raises:
        FileFormatError: the file as a whole cannot be read, or it holds no lessons.
    """
    seen = False
    for row in _rows(path):
        seen = True
        yield _lesson_line(row, table)
    if not seen:
        raise FileFormatError(f"{path} holds no lessons.", hint="Is it the right file?")


def write_lessons(path: Path, lessons: Iterable[Lesson]) -> int:
    """Write lessons to a file, which appears complete or not at all.

    Args:
        path: ends in .jsonl, .csv or .tsv.
        lessons: in the order wanted.

    Returns:
        How many were written.
    """
    return _write(path, (row_of(lesson) for lesson in lessons))


def read_rows(path: Path) -> Iterator[dict[str, object]]:
    """All rows of an export as they stand there, with the fields that the store gave.

    Raises:
        FileFormatError: the file, or a row of it, cannot be read.
    """
    for row in _rows(path):
        if row.values is None:
            raise FileFormatError(f"{path}, line {row.number}: {row.error}", hint="Mend that line, or delete the file.")
        yield dict(row.values)


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows that `read_rows` gave; see `write_lessons`."""
    return _write(path, rows)


def file_digest(path: Path) -> str:
    """Sha256 of a file's bytes, in hex.

    Raises:
        FileFormatError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be read: {cause.strerror}.", hint="Check its name and rights.") from cause
    return digest.hexdigest()


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> int:
    write = _write_jsonl if _suffix(path) in (".jsonl", ".ndjson") else _write_separated
    if _suffix(path) == ".json":
        raise FileFormatError(f"{path}: lessons are written one a line.", hint="Name the file .jsonl.")
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be written: {cause.strerror}.", hint="Choose another folder.") from cause
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            count = write(file, rows, "\t" if path.suffix == ".tsv" else ",")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as cause:
        raise FileFormatError(f"{path} cannot be written: {cause.strerror}.", hint="Is the disk full?") from cause
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFormatError(
            f"{path} ends in {suffix or 'nothing'!r}, wanted one of {', '.join(SUFFIXES)}.",
            hint="Rename or convert it.",
        )
    return suffix


def _rows(path: Path) -> Iterator[Row]:
    suffix = _suffix(path)
    lines = text_lines(path)
    if suffix in (".csv", ".tsv"):
        return separated_rows(path, lines, "\t" if suffix == ".tsv" else None)
    first = next((line for line in text_lines(path) if line.strip()), "")
    return json_array_rows(lines) if first.lstrip().startswith("[") else json_line_rows(lines)


def _lesson_line(row: Row, table: str | None) -> LessonLine:
    if row.values is None:
        return LessonLine(row.number, None, row.error)
    try:
        return LessonLine(row.number, lesson_of(row.values, table=table), None)
    except InputError as cause:
        return LessonLine(row.number, None, str(cause))


def _write_jsonl(file: TextIO, rows: Iterable[Mapping[str, object]], _delimiter: str) -> int:
    count = 0
    for row in rows:
        kept = {name: value for name, value in row.items() if value != ""}
        file.write(json.dumps(kept, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_separated(file: TextIO, rows: Iterable[Mapping[str, object]], delimiter: str) -> int:
    # Every text is quoted: a lone carriage return or white space at the ends survives any reader that way.
    writer = csv.DictWriter(
        file, (*FIELDS, *STORE_FIELDS), delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n"
    )
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count

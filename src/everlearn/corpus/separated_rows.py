"""Rows of a CSV or TSV file with a header, quoted line breaks included."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from everlearn.corpus.lesson_fields import KNOWN_NAMES, check_names
from everlearn.corpus.rows import Row
from everlearn.errors import FileFormatError

DELIMITERS = (",", ";", "\t", "|")


def separated_rows(path: Path, lines: Iterator[str], delimiter: str | None) -> Iterator[Row]:
    """One row for each record after the header.

    Args:
        path: for messages.
        lines: of the file, each with its end.
        delimiter: between two columns; None = the one that makes the most of the header's names known.

    Raises:
        FileFormatError: the header does not name the fields of a lesson.
    """
    header_number, header = next(((n, line) for n, line in enumerate(lines, start=1) if line.strip()), (0, ""))
    if not header:
        raise FileFormatError(f"{path} is empty.", hint="The first line names the columns: prompt,answer.")
    delimiter = delimiter or max(DELIMITERS, key=lambda d: sum(n in KNOWN_NAMES for n in _names(header, d)))
    names = _names(header, delimiter)
    try:
        check_names(names)
    except FileFormatError as cause:
        raise FileFormatError(f"{path}, header: {cause.message}", hint=cause.hint) from cause
    yield from _records(lines, names, delimiter, header_number)


def _names(header: str, delimiter: str) -> list[str]:
    cells = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
    return [cell.strip().lower() for cell in cells]


def _records(lines: Iterator[str], names: list[str], delimiter: str, before: int) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as flaw:
            yield Row(number, None, f"Cannot be read: {flaw}. Is a quote left open, or not doubled inside quotes?")
            continue
        if cells is None:
            return
        if cells:
            yield _record(number, names, cells)


def _record(number: int, names: list[str], cells: list[str]) -> Row:
    if len(cells) != len(names):
        return Row(number, None, f"{len(cells)} columns, wanted {len(names)} ({', '.join(names)}). Are quotes missing?")
    return Row(number, dict(zip(names, cells, strict=True)))

"""Chains of answers that changed over the years, from a JSON Lines file: one chain a line, one object a year."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlearn.errors import FileFormatError

_FORM = '[{"query": "... plays for _X_.", "answer": [{"name": "..."}], "date": "2012"}, ...], oldest first'
_YEAR = re.compile(r"\d{4}")


@dataclass(frozen=True, slots=True)
class Change:
    """From a year on a question has another answer.

    Attributes:
        year: four digits.
        answer: what is taught.
        accepted: every name of it that counts as right, the taught one first.
    """

    year: str
    answer: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """One question and how its answer changed.

    Attributes:
        query: the question, the same for every year.
        changes: oldest first, at least one.
        line: where it stands in its file, from 1.
    """

    query: str
    changes: tuple[Change, ...]
    line: int


def read_chains(path: Path) -> list[Chain]:
    """Read all chains of a file.

    Raises:
        FileFormatError: the file cannot be read, or a line is not of the form above; the message names the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise FileFormatError(f"{path} cannot be read: {cause}.", hint="Give the path of a .jsonl file.") from cause
    chains = [_chain(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not chains:
        raise FileFormatError(f"{path} holds no chains.", hint=f"Wanted on each line: {_FORM}")
    return chains


def _chain(path: Path, line: int, text: str) -> Chain:
    try:
        rows = json.loads(text)
        changes = tuple(_change(row) for row in rows)
        queries = {row["query"].strip() for row in rows}
    except (ValueError, TypeError, KeyError, AttributeError) as cause:
        raise _refused(path, line, f"is not a chain ({type(cause).__name__}: {cause})") from cause
    years = [change.year for change in changes]
    if len(queries) != 1 or years != sorted(set(years)):
        raise _refused(path, line, "has several queries, or its years do not rise")
    return Chain(queries.pop(), changes, line)


def _change(row: Mapping[str, Any]) -> Change:
    names = tuple(dict.fromkeys(answer["name"].strip() for answer in row["answer"] if answer["name"].strip()))
    if not names or not _YEAR.fullmatch(row["date"]):
        raise ValueError("no answer, or no year of four digits")
    return Change(row["date"], names[0], names)


def _refused(path: Path, line: int, what: str) -> FileFormatError:
    return FileFormatError(f"{path.name}, line {line} {what}.", hint=f"Wanted on each line: {_FORM}")

"""Edits to teach, from a JSON Lines file: subject, prompt, target, rephrases[], locality[{prompt, answer}]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlearn.errors import FileFormatError

_FORM = '{"prompt": "...", "target": "...", "rephrases": ["..."], "locality": [{"prompt": "...", "answer": "..."}]}'


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that must stay as it is, with the answer its source gives (which may be empty)."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit.

    Attributes:
        prompt: the question that is taught.
        target: the answer that is taught.
        rephrases: the same question in other words; blank ones, which zsRE holds, are left out.
        locality: questions that must not change.
        line: where it stands in its file, from 1.
    """

    prompt: str
    target: str
    rephrases: tuple[str, ...] = ()
    locality: tuple[Probe, ...] = ()
    line: int = 0


def read_edits(path: Path, limit: int | None = None) -> list[Edit]:
    """Read the first `limit` edits of a file; empty lines are passed over.

    Raises:
        FileFormatError: the file cannot be read, or a line is not of the form above; the message names the line.
    """
    edits: list[Edit] = []
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if limit is not None and len(edits) >= limit:
                    break
                text = _decoded(path, number, raw)
                if text:
                    edits.append(_edit(path, number, text))
    except OSError as error:
        raise FileFormatError(
            f"{path} cannot be read: {error.strerror}.", hint="Give the path of a .jsonl file."
        ) from error
    return edits


def digest_of(edits: Sequence[Edit]) -> str:
    """Sha256 over everything that is asked and taught."""
    return hashlib.sha256(repr(edits).encode("utf-8", "surrogatepass")).hexdigest()


def _decoded(path: Path, line: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise _refused(path, line, f"is not UTF-8 (byte {error.start})") from error


def _edit(path: Path, line: int, text: str) -> Edit:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise _refused(path, line, f"is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise _refused(path, line, "is not a JSON object")
    return Edit(
        prompt=_word(path, line, row, "prompt"),
        target=_word(path, line, row, "target"),
        rephrases=tuple(text for text in _list(path, line, row, "rephrases", str) if text.strip()),
        locality=tuple(_probe(path, line, item) for item in _list(path, line, row, "locality", dict)),
        line=line,
    )


def _probe(path: Path, line: int, row: Mapping[str, Any]) -> Probe:
    answer = row.get("answer", "")
    return Probe(_word(path, line, row, "prompt"), answer.strip() if isinstance(answer, str) else "")


def _word(path: Path, line: int, row: Mapping[str, Any], key: str) -> str:
    """A text that is there; white space around it is not part of it."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _refused(path, line, f'has no text under "{key}"')
    return value.strip()


def _list(path: Path, line: int, row: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise _refused(path, line, f'has no list of {"texts" if kind is str else "objects"} under "{key}"')
    return value


def _refused(path: Path, line: int, what: str) -> FileFormatError:
    return FileFormatError(f"{path.name}, line {line} {what}.", hint=f"Wanted on each line: {_FORM}")

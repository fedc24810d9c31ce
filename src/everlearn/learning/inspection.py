"""What would be learned from a file: its passages or lessons, their tokens, scripts, flaws and near-duplicates."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from everlearn.corpus.documents import documents_in, is_lesson_file, read_document
from everlearn.corpus.lesson_files import read_lessons
from everlearn.corpus.near_duplicates import NearDuplicates
from everlearn.corpus.passages import passages_of
from everlearn.errors import FileFormatError, InputError

FEW_WORDS, FEW_LETTERS, MANY_REPEATS = 5, 0.5, 0.3
_SCRIPT = re.compile(r"[A-Z]+")
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that would be learned: where it stands, and its text."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file holds.

    Attributes:
        path: of the file.
        kind: "document" (its passages are read with questions) or "lessons" (questions with their answers).
        pieces: passages or lessons.
        characters: of all of them.
        tokens: of all of them, by the base model's tokenizer.
        tokens_median, tokens_most: of one.
        scripts: share of each script among the letters, the largest first.
        flaws: what -> how often.
        examples: of flaws: where, and what.
        duplicates: (place, place of the earlier one that it nearly repeats).
        skipped: what cannot be read, as sentences.
    """

    path: str
    kind: Literal["document", "lessons"]
    pieces: int
    characters: int
    tokens: int
    tokens_median: float
    tokens_most: int
    scripts: dict[str, float]
    flaws: dict[str, int]
    examples: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...]


def inspect_paths(paths: Sequence[Path], count: Callable[[str], int]) -> Iterator[Inspection]:
    """Look at files, and at all documents of folders; nothing is learned.

    Args:
        paths: of files and folders.
        count: tokens of a text.

    Raises:
        InputError: there is no such file.
        FileFormatError: a file cannot be read; the message says why.
    """
    for path in paths:
        if path.is_dir():
            for file in documents_in(path):
                yield inspect_file(file, count)
        elif path.is_file():
            yield inspect_file(path, count)
        else:
            raise InputError(f"There is no file or folder {path}.", hint="Check the path.")


def inspect_file(path: Path, count: Callable[[str], int]) -> Inspection:
    """Look at one file; the arguments and errors are those of `inspect_paths`."""
    lessons = is_lesson_file(path)
    pieces, skipped = _lessons(path) if lessons else _passages(path, count)
    sizes = [count(piece.text) for piece in pieces]
    found = [(piece.place, flaw) for piece in pieces if (flaw := flaw_of(piece.text, question=lessons))]
    return Inspection(
        path=str(path),
        kind="lessons" if lessons else "document",
        pieces=len(pieces),
        characters=sum(len(piece.text) for piece in pieces),
        tokens=sum(sizes),
        tokens_median=median(sizes) if sizes else 0.0,
        tokens_most=max(sizes, default=0),
        scripts=scripts_of(piece.text for piece in pieces),
        flaws=dict(Counter(flaw for _, flaw in found).most_common()),
        examples=tuple(found[:_MOST_NAMED]),
        duplicates=tuple(_duplicates(pieces)),
        skipped=tuple(skipped),
    )


def flaw_of(text: str, *, question: bool = False) -> str:
    """Why a text is hardly worth learning; "" where nothing speaks against it.

    Args:
        text: of a passage, or question and answer.
        question: whether it is a pair, which may be short.
    """
    words, lines = text.split(), [line.strip() for line in text.splitlines() if line.strip()]
    if len(words) < FEW_WORDS and not question:
        return "hardly any words"
    letters = sum(c.isalpha() or c.isspace() for c in text)
    if letters < FEW_LETTERS * max(len(text), 1):
        return "more signs than letters"
    if len(lines) > 3 and len(lines) - len(set(lines)) > MANY_REPEATS * len(lines):
        return "lines repeat"
    if "\N{REPLACEMENT CHARACTER}" in text:
        return "characters were lost"
    return ""


def scripts_of(texts: Iterator[str]) -> dict[str, float]:
    """Share of each script (Latin, Cyrillic, CJK ...) among the letters, the largest first; below 1 % left out."""
    counted: Counter[str] = Counter()
    for text in texts:
        for letter, times in Counter(filter(str.isalpha, text)).items():
            name = _SCRIPT.match(unicodedata.name(letter, "UNKNOWN"))
            counted[name.group().capitalize() if name else "Unknown"] += times
    total = sum(counted.values())
    return {name: n / total for name, n in counted.most_common() if n >= 0.01 * total}


def _passages(path: Path, count: Callable[[str], int]) -> tuple[list[Piece], Sequence[str]]:
    document = read_document(path)
    return [Piece(p.position, p.text) for p in passages_of(document, count)], document.skipped


def _lessons(path: Path) -> tuple[list[Piece], Sequence[str]]:
    pieces, skipped = [], []
    for line in read_lessons(path):
        if line.lesson is None:
            skipped.append(f"line {line.number}: {line.error}")
        else:
            pieces.append(Piece(f"line {line.number}", f"{line.lesson.question}\n{line.lesson.answer}"))
    if not pieces and not skipped:
        raise FileFormatError(f"{path} holds no lesson.", hint="One row for each: question, answer.")
    return pieces, skipped


def _duplicates(pieces: Sequence[Piece]) -> Iterator[tuple[str, str]]:
    known = NearDuplicates()
    places: dict[str, str] = {}
    for number, piece in enumerate(pieces):
        if earlier := known.find(piece.text):
            yield piece.place, places[earlier]
        else:
            known.add(str(number), piece.text)
            places[str(number)] = piece.place

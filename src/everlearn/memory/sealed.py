"""Sealed entries: keys and values that came without text. They answer, but no word of their questions is known.

The gate weighs words, so it cannot judge them; the cosine of the whole question decides alone, and strictly. Measured
on 400 facts each (recall of rephrases / false recall on the nearest other question): cosine >= .9 gives .78 / .003 on
QAEdit, .76 / .105 on zsRE (questions about the same subject), .12 / .005 on CounterFact. So a sealed entry is found by
its own words and near ones.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from everlearn.memory.correction import Correction, from_bytes
from everlearn.memory.index import ExactIndex
from everlearn.memory.table import CANDIDATES, Candidate
from everlearn.records import Lesson, TableSettings

_EVEN = 0.9  # cosine at which the probability is one half
_STEEPNESS = 60.0
SAME = 0.95  # cosine from which two keys ask the same


@final
@dataclass(frozen=True, slots=True)
class Sealed:
    """What there is of a lesson without text.

    Attributes:
        encoder: digest of the encoder that made the key.
        base: digest and dtype of the base model that the value is for.
        key: [K] float32, unit length.
        value: packed correction; it holds the token ids of the answer.
    """

    encoder: str
    base: str
    key: NDArray[np.float32]
    value: bytes


@final
class SealedEntries:
    """The sealed entries of all tables that were made with this encoder on this base model.

    Args:
        encoder: digest.
        base: digest and dtype of the base model.
        width: K, coordinates of a key.
    """

    def __init__(self, encoder: str, base: str, width: int) -> None:
        self._made_for = (encoder, base)
        self._width = width
        self._tables: dict[str, ExactIndex] = {}
        self._home: dict[str, str] = {}

    def __contains__(self, lesson_id: object) -> bool:
        return lesson_id in self._home

    def holds_any(self, tables: Iterable[str]) -> bool:
        """Whether one of these tables has an entry."""
        return any(name in self._tables and len(self._tables[name]) for name in tables)

    def add(self, lessons: Sequence[Lesson]) -> None:
        """Make the entries of sealed lessons visible. Those of another encoder or base model stay silent."""
        for lesson in lessons:
            entry = opened(lesson.sealed)
            if (entry.encoder, entry.base) != self._made_for or lesson.id in self._home:
                continue
            index = self._tables.setdefault(lesson.table, ExactIndex(self._width))
            index.add([lesson.id], entry.key[None])
            self._home[lesson.id] = lesson.table

    def remove(self, ids: Iterable[str]) -> None:
        """Remove those of `ids` that are here."""
        for lesson_id in [i for i in ids if i in self._home]:
            self._tables[self._home.pop(lesson_id)].remove(lesson_id)

    def remove_table(self, name: str) -> None:
        """Remove all entries of a table."""
        self._tables.pop(name, None)
        self._home = {i: home for i, home in self._home.items() if home != name}

    def near(self, table: str, vector: NDArray[np.float32]) -> list[tuple[str, float]]:
        """Entries of a table nearest to a vector [K], with their cosines."""
        return self._tables[table].search(vector, CANDIDATES) if table in self._tables else []

    def same_question(self, table: str, vector: NDArray[np.float32]) -> list[str]:
        """Entries of a table that ask the same as a key [K]."""
        return [lesson_id for lesson_id, score in self.near(table, vector) if score >= SAME]

    def candidates(self, vector: NDArray[np.float32], tables: Mapping[str, TableSettings]) -> list[Candidate]:
        """Entries near a question [K], by tables that are asked."""
        return [
            Candidate(lesson_id, name, score, _probability(score), settings)
            for name, settings in tables.items()
            for lesson_id, score in self.near(name, vector)
        ]


def value_of(lesson: Lesson, width: int) -> Correction:
    """The value of a sealed lesson; `width` is D."""
    return from_bytes(opened(lesson.sealed).value, width)


def base_of(digest: str, number_format: str) -> str:
    """Which base model a value is for."""
    return f"{digest} {number_format}"


def packed(entry: Sealed) -> str:
    """An entry as a lesson keeps it: safetensors in base64."""
    tensors: dict[str, NDArray[Any]] = {
        "key": entry.key.astype(np.float32),
        "value": np.frombuffer(entry.value, np.uint8),
    }
    about = {"encoder": entry.encoder, "base": entry.base}
    return base64.b64encode(safetensors.numpy.save(tensors, about)).decode()


def opened(sealed: str) -> Sealed:
    """The entry that a lesson keeps.

    Raises:
        ValueError: it is damaged.
    """
    body = base64.b64decode(sealed, validate=True)
    about = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])["__metadata__"]
    tensors = safetensors.numpy.load(body)
    return Sealed(about["encoder"], about["base"], tensors["key"], tensors["value"].tobytes())


def _probability(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-_STEEPNESS * (score - _EVEN)))

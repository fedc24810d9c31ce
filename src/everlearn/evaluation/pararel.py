"""Prompts of ParaRel's facts, as they are taught, and more vectors than there are prompts to encode.

Source: Elazar et al. 2021, Measuring and Improving Consistency in Pretrained Language Models, section 4 (MIT).
"""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import FileFormatError

_OBJECT = "[Y]"
_SUBJECT = "[X]"
_PHRASINGS = 4  # of a relation
_NOISE = 0.005  # standard deviation of each coordinate


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt that a fact answers.

    Attributes:
        prompt: the phrasing up to the answer.
        subject: what is asked about.
        phrasing: how.
        answer: of the fact.
    """

    prompt: str
    subject: str
    phrasing: str
    answer: str


def read_prompts(archive: Path, seed: int = 0) -> list[Asked]:
    """Different prompts of all facts in up to four phrasings that end in the answer, shuffled.

    Raises:
        FileFormatError: no such archive, or none of ParaRel.
    """
    try:
        with tarfile.open(archive) as tar:
            phrasings = {name: [row["pattern"] for row in rows] for name, rows in _rows(tar, "graphs_json")}
            facts = dict(_rows(tar, "trex_lms_vocab"))
    except (OSError, tarfile.TarError, ValueError, KeyError) as cause:
        raise FileFormatError(
            f"{archive} cannot be read as ParaRel's facts: {cause}.", hint="Give the path of pararel_trex.tar.gz."
        ) from cause
    found: dict[str, Asked] = {}
    for relation, rows in facts.items():
        ends = [p.rstrip(" .") for p in phrasings.get(relation, ())]
        for phrasing in [p.removesuffix(_OBJECT).strip() for p in ends if p.endswith(_OBJECT)][:_PHRASINGS]:
            for row in rows:
                prompt = phrasing.replace(_SUBJECT, row["sub_label"])
                found.setdefault(prompt, Asked(prompt, row["sub_label"], phrasing, row["obj_label"]))
    if not found:
        raise FileFormatError(f"{archive} holds no facts of ParaRel.", hint="Give the path of pararel_trex.tar.gz.")
    prompts = list(found.values())
    random.Random(seed).shuffle(prompts)
    return prompts


@dataclass(frozen=True, slots=True)
class Composed:
    """Prompts that were never written: one subject in another's phrasing.

    Attributes:
        vectors: [N, K], unit length.
        subjects: [N], places of the prompts whose subject is asked about.
        phrasings: [N], places of those in whose phrasing.
    """

    vectors: NDArray[np.float16]
    subjects: NDArray[np.int64]
    phrasings: NDArray[np.int64]


def composed(real: NDArray[np.float32], asked: Sequence[Asked], count: int, seed: int = 0) -> Composed:
    """Make prompts that were never written, one subject in another's phrasing.

    What changes between two phrasings of one subject is added to the vector of another subject, with a little noise.
    Encoding a million prompts would take this machine an hour; these lie as densely among each other as encoded ones.

    Args:
        real: [N, K], encodings of `asked`, unit length.
        asked: N prompts.
        count: how many to make.
        seed: draws them.
    """
    places: dict[str, list[int]] = {}
    for place, each in enumerate(asked):
        places.setdefault(each.subject, []).append(place)
    twice = [several for several in places.values() if len(several) > 1]
    draw = np.random.default_rng(seed)
    pairs = np.array([draw.choice(several, 2, replace=False) for several in twice])
    made = np.empty((count, real.shape[1]), np.float16)
    subjects, phrasings = np.empty(count, np.int64), np.empty(count, np.int64)
    for first in range(0, count, 50_000):
        some = slice(first, min(first + 50_000, count))
        change = pairs[draw.integers(0, len(pairs), some.stop - first)]
        subjects[some], phrasings[some] = draw.integers(0, len(real), some.stop - first), change[:, 0]
        rows = real[subjects[some]] + real[change[:, 0]] - real[change[:, 1]]
        rows += _NOISE * draw.standard_normal(rows.shape, np.float32)
        made[some] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Composed(made, subjects, phrasings)


def in_words(subject: Asked, phrasing: Asked) -> str:
    """A composed prompt as it would be written."""
    return phrasing.phrasing.replace(_SUBJECT, subject.subject)


def words_before(asked: Asked) -> str:
    """What stands before the subject of a prompt."""
    return asked.phrasing.partition(_SUBJECT)[0]


def _rows(tar: tarfile.TarFile, folder: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for member in tar.getmembers():
        path = PurePosixPath(member.name)
        file = tar.extractfile(member) if path.parent.name == folder and path.suffix == ".jsonl" else None
        if file is not None:
            yield path.stem, [json.loads(line) for line in file.read().decode().splitlines() if line.strip()]

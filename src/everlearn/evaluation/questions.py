"""Which questions a measurement of edits asks: the taught ones, their rephrases, and those that must not change."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from everlearn.evaluation.edits import Edit
from everlearn.evaluation.metrics import normalised

Kind = Literal["taught", "rephrase", "locality"]
KINDS: tuple[Kind, ...] = ("taught", "rephrase", "locality")


@dataclass(frozen=True, slots=True)
class Question:
    """One question to ask.

    Attributes:
        kind: "taught" (reliability), "rephrase" (generality) or "locality".
        edit: number of the edit it belongs to, from 0.
        text: what is asked.
        wanted: the answer wanted; for locality what the data gives, which is not what is compared.
    """

    kind: Kind
    edit: int
    text: str
    wanted: str


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What is taught and what is asked.

    Attributes:
        edits: what is taught, in order.
        sample: numbers of the edits that are scored.
        asked: kind -> its questions, in the order of the sample.
    """

    edits: Sequence[Edit]
    sample: Sequence[int]
    asked: Mapping[Kind, Sequence[Question]]

    @property
    def questions(self) -> list[Question]:
        """All of them; locality last."""
        return [question for kind in KINDS for question in self.asked[kind]]

    def timed(self, most: int) -> list[str]:
        """Questions that a lesson answers and questions that none does, in turns, at most `most`."""
        known = [q.text for q in self.asked["rephrase"] or self.asked["taught"]]
        other = [q.text for q in self.asked["locality"]] or known
        return [text for pair in zip(known, other, strict=False) for text in pair][:most]


def plan(edits: Sequence[Edit], sample: Sequence[int], most: Mapping[Kind, int]) -> Plan:
    """Plan to ask about the sampled edits, at most `most[kind]` questions (0 or missing = all) of a kind for each."""
    asked = {kind: _questions(edits, sample, kind, most.get(kind, 0)) for kind in KINDS}
    return Plan(edits, sample, asked)


def sample_edits(count: int, size: int, seed: int) -> list[int]:
    """Numbers of `size` of the first `count` edits, drawn by `seed`, in rising order; size 0 means all."""
    if size in {0, count}:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), size))


def batches(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    """Batches of one kind each, so that locality questions have the same neighbours whatever else is asked."""
    for kind in KINDS:
        same = [question for question in questions if question.kind == kind]
        for start in range(0, len(same), size):
            yield same[start : start + size]


def contradicted(edits: Sequence[Edit]) -> frozenset[int]:
    """Numbers of the edits whose question a later edit gives another answer to: the data contradicts itself there."""
    last: dict[str, str] = {}
    found = set()
    for number in reversed(range(len(edits))):
        question, target = normalised(edits[number].prompt), normalised(edits[number].target)
        if last.setdefault(question, target) != target:
            found.add(number)
    return frozenset(found)


def also_taught(edits: Sequence[Edit], locality: Sequence[Question]) -> frozenset[str]:
    """Texts of locality questions that the data teaches elsewhere, as a prompt or a rephrase: they ought to change."""
    taught = {normalised(text) for edit in edits for text in (edit.prompt, *edit.rephrases)}
    return frozenset(question.text for question in locality if normalised(question.text) in taught)


def _questions(edits: Sequence[Edit], sample: Sequence[int], kind: Kind, most: int) -> list[Question]:
    found = []
    for number in sample:
        pairs = _pairs(edits[number], kind)[: most or None]
        found += [Question(kind, number, text, wanted) for text, wanted in pairs]
    return found


def _pairs(edit: Edit, kind: Kind) -> list[tuple[str, str]]:
    if kind == "taught":
        return [(edit.prompt, edit.target)]
    if kind == "rephrase":
        return [(text, edit.target) for text in edit.rephrases]
    return [(probe.prompt, probe.answer) for probe in edit.locality]

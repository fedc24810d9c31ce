"""Questions that need several edited facts: reading them, and which of them other edits contradict."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlearn.errors import FileFormatError, InputError

Triple = tuple[str, str, str]  # subject, relation, object


@dataclass(frozen=True, slots=True)
class Case:
    """Facts that are changed together, and one question about their chain in several phrasings.

    Attributes:
        name: of the case in its file.
        edits: (prompt, answer) of each changed fact.
        questions: phrasings of one question.
        wanted: answers that are right, the usual one first.
        chain: the hops to the answer after the changes.
        edited: those of the hops that were changed.
    """

    name: str
    edits: tuple[tuple[str, str], ...]
    questions: tuple[str, ...]
    wanted: tuple[str, ...]
    chain: tuple[Triple, ...]
    edited: frozenset[Triple]

    @property
    def untold(self) -> int:
        """Hops that none of the case's own edits tells."""
        return sum(hop not in self.edited for hop in self.chain)


def read_cases(path: Path) -> list[Case]:
    """All cases of a JSON Lines file of the form of MQuAKE.

    Source: MQuAKE, Zhong et al. 2023, arXiv 2305.14795.

    Raises:
        FileFormatError: a line is of another form.
    """
    cases: list[Case] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            cases.append(_case(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as cause:
            raise FileFormatError(
                f"{path.name}, line {number} is not a case: {type(cause).__name__} {cause}.",
                hint="Wanted: requested_rewrite, questions, new_answer, orig.new_triples and orig.edit_triples.",
            ) from cause
    return cases


def drawn(cases: Sequence[Case], sample: int, seed: int) -> list[Case]:
    """A sample, in the order of the file; 0 = all.

    Raises:
        InputError: more are wanted than there are.
    """
    if not 0 <= sample <= len(cases):
        raise InputError(f"{sample} cases were wanted, there are {len(cases)}.", hint="0 means all.")
    places = sorted(random.Random(seed).sample(range(len(cases)), sample)) if sample else range(len(cases))
    return [cases[place] for place in places]


def newest(cases: Sequence[Case]) -> dict[tuple[str, str], str]:
    """(subject, relation) -> object of its newest edit, when the edits of all cases are made in their order."""
    return {hop[:2]: hop[2] for case in cases for hop in case.chain if hop in case.edited}


def contradicted(case: Case, state: Mapping[tuple[str, str], str]) -> bool:
    """Whether another case's edit says otherwise about a hop: then what is wanted is not what is taught."""
    return any(state.get((subject, relation), value) != value for subject, relation, value in case.chain)


def untaught(case: Case, state: Mapping[tuple[str, str], str]) -> int:
    """Hops that no edit of any case tells."""
    return sum(hop[:2] not in state for hop in case.chain)


def _case(row: Mapping[str, Any]) -> Case:
    return Case(
        name=str(row["case_id"]),
        edits=tuple((_prompt(edit), edit["target_new"]["str"]) for edit in row["requested_rewrite"]),
        questions=tuple(row["questions"]),
        wanted=(row["new_answer"], *row["new_answer_alias"]),
        chain=tuple(_triple(hop) for hop in row["orig"]["new_triples"]),
        edited=frozenset(_triple(hop) for hop in row["orig"]["edit_triples"]),
    )


def _prompt(edit: Mapping[str, Any]) -> str:
    return str(edit.get("question") or edit["prompt"].format(edit["subject"]))


def _triple(hop: Sequence[str]) -> Triple:
    subject, relation, value = hop
    return subject, relation, value

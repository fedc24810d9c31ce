"""What a measurement of edits is to do, and where what it finds is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from everlearn.errors import InputError
from everlearn.evaluation.asking import ProtocolName
from everlearn.evaluation.edits import Edit, digest_of, read_edits
from everlearn.evaluation.machine import versions
from everlearn.evaluation.questions import Plan, plan, sample_edits
from everlearn.records import TableSettings

BENCH_TABLE = "bench-editing"


@dataclass(frozen=True, slots=True)
class EditingOptions:
    """What to measure.

    Attributes:
        data: JSON Lines file of edits.
        edits: how many to teach, the first ones of the file.
        sample: how many of them to score, drawn by `seed`; 0 = all.
        protocol: "wild" or "teacher-forced".
        seed: draws the sample.
        rephrases: most rephrases to ask for each edit, the first ones; 0 = all.
        locality: most locality questions to ask for each edit, the first ones; 0 = all.
        max_new_tokens: an answer that reaches this without a stop token is wrong; raised where a wanted one is longer.
        locality_tokens: how many tokens of a locality answer are compared.
        batch_size: how many questions are asked together.
        timed_questions: how many questions are asked alone to time what memory adds.
        table: the look-up table to teach and ask. It belongs to the measurement: what it holds at the start is dropped.
        table_settings: of that table.
        state: folder where answers are kept, so that a measurement that was killed goes on; None = nowhere.
        restart: drop what is kept and begin anew.
        setup: anything else that the answers depend on (encoder, device): another value begins anew.
    """

    data: Path
    edits: int
    sample: int = 0
    protocol: ProtocolName = "wild"
    seed: int = 0
    rephrases: int = 0
    locality: int = 0
    max_new_tokens: int = 64
    locality_tokens: int = 32
    batch_size: int = 16
    timed_questions: int = 32
    table: str = BENCH_TABLE
    table_settings: TableSettings = field(default_factory=TableSettings)
    state: Path | None = None
    restart: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)

    def as_settings(self) -> dict[str, Any]:
        """What the answers depend on, as JSON can hold it."""
        kept = {name: value for name, value in asdict(self).items() if name not in {"state", "restart"}}
        return {**kept, "data": self.data.name, "setup": dict(self.setup)}


def planned(options: EditingOptions) -> Plan:
    """Read the data and draw the sample.

    Raises:
        FileFormatError: a line of the data is not of the wanted form.
        InputError: more edits or a larger sample are wanted than there are, or an answer the protocol needs is missing.
    """
    _check_numbers(options)
    edits = read_edits(options.data, options.edits)
    if len(edits) < options.edits:
        raise InputError(
            f"{options.edits} edits were wanted, {options.data.name} holds {len(edits)}.",
            hint=f"Ask for at most {len(edits)}.",
        )
    sample = sample_edits(options.edits, options.sample, options.seed)
    made = plan(edits, sample, {"rephrase": options.rephrases, "locality": options.locality})
    if options.protocol == "teacher-forced":
        _check_answers(made)
    return made


def journal_path(options: EditingOptions, edits: Sequence[Edit], model_digest: str) -> Path | None:
    """One file for each thing that can be measured, so that answers of different ones never mix."""
    if options.state is None:
        return None
    everything = [options.as_settings(), digest_of(edits), model_digest, versions()]
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return options.state / f"editing-{digest[:16]}.jsonl"


def _check_numbers(options: EditingOptions) -> None:
    if options.edits < 1 or not 0 <= options.sample <= options.edits:
        raise InputError(
            f"{options.edits} edits with a sample of {options.sample} cannot be measured.",
            hint="Wanted: at least one edit, and a sample of at most as many (0 = all).",
        )
    if min(options.batch_size, options.max_new_tokens, options.locality_tokens) < 1:
        raise InputError("The batch size and the token limits must be at least 1.")
    if min(options.rephrases, options.locality, options.timed_questions) < 0:
        raise InputError("How many questions are asked cannot be negative.", hint="0 means all.")


def _check_answers(made: Plan) -> None:
    for question in made.asked["locality"]:
        if not question.wanted:
            raise InputError(
                f"Line {made.edits[question.edit].line} has a locality question without an answer.",
                hint="The teacher-forced protocol feeds that answer in; use the wild protocol, or add it.",
            )

"""Which edits of a set are taught together and which of them are scored, the same for every method."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from everlearn.errors import FileFormatError, InputError
from everlearn.evaluation.edits import Edit, Probe, read_edits

FILES = {
    "zsre": "zsre.jsonl",
    "counterfact": "counterfact.jsonl",
    "qaedit": "qaedit.jsonl",
    "hallucination": "hallucination.jsonl",
}


@dataclass(frozen=True, slots=True)
class Draw:
    """One round of teaching and asking.

    Attributes:
        edits: what is taught, in the order of the file.
        scored: numbers of those of them that are asked about.
    """

    edits: Sequence[Edit]
    scored: Sequence[int]


def draws_of(edits: Sequence[Edit], taught: int, sample: int, seed: int) -> list[Draw]:
    """Disjoint draws of `taught` edits that together score `sample` edits; one draw where more are taught than scored.

    All draws cut one seeded order of the whole set, so that the same edits are scored whatever number is taught: what
    changes along such a row is how much else was taught, not which questions were asked.

    Raises:
        InputError: the set holds fewer edits.
    """
    if not 1 <= taught <= len(edits):
        raise InputError(f"{taught} edits were wanted, the set holds {len(edits)}.", hint="Ask for 1 to that many.")
    order = random.Random(seed).sample(range(len(edits)), len(edits))
    sample = min(sample, len(edits))
    if taught >= sample:
        return [_draw(edits, order[:taught], set(order[:sample]))]
    groups = [order[first : first + taught] for first in range(0, sample - taught + 1, taught)]
    return [_draw(edits, group, set(group)) for group in groups]


def read_set(folder: Path, name: str) -> list[Edit]:
    """Edits of a set, by its name.

    Raises:
        FileFormatError: the file cannot be read or is not of the wanted form.
        InputError: there is no such set.
    """
    if name not in FILES:
        raise InputError(f"There is no set {name!r}.", hint=f"Known are: {', '.join(FILES)}.")
    path = folder / FILES[name]
    return _hallucinations(path) if name == "hallucination" else read_edits(path)


def _hallucinations(path: Path) -> list[Edit]:
    """Passages whose next sentence is taught, with web text that must go on as before.

    Source: the SelfCheckGPT set as WISE (Wang et al. 2024, arXiv 2405.14768, section 4.1) prepares it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileFormatError(
            f"{path} cannot be read: {error.strerror}.", hint="Give the folder of the sets."
        ) from error
    edits = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            probe = Probe(row["locality_prompt"].strip(), row["locality_ground_truth"].strip())
            edits.append(Edit(row["prompt"].strip(), row["target_new"].strip(), (), (probe,), number))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise FileFormatError(
                f"{path.name}, line {number} is not a record of this set ({type(error).__name__}: {error}).",
                hint="Wanted: prompt, target_new, locality_prompt, locality_ground_truth.",
            ) from error
    return edits


def _draw(edits: Sequence[Edit], chosen: Sequence[int], scored: set[int]) -> Draw:
    inorder = sorted(chosen)
    return Draw([edits[n] for n in inorder], [place for place, n in enumerate(inorder) if n in scored])

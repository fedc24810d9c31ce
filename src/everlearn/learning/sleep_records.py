"""What a sleep leaves behind beside the adapter: examples to replay, an anchor, and a line about its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from everlearn.evaluation.journal import Journal
from everlearn.learning.examples import Example, encoded
from everlearn.learning.fisher import Anchor, first_anchor, fisher
from everlearn.learning.replay import ReplayBuffer
from everlearn.learning.sleep_files import REPLAY, VERDICTS, anchor_path
from everlearn.learning.weights import AdapterWeights
from everlearn.records import Verdict
from everlearn.specialists.adapter import Adapter
from everlearn.text.chat import ChatText


@final
@dataclass(frozen=True, slots=True)
class Memories:
    """What the next version needs of this one.

    Attributes:
        examples: to be replayed.
        weighed: those that say how much each weight matters.
        anchor: of the version before, or None.
    """

    examples: Sequence[Example]
    weighed: Sequence[Example]
    anchor: Anchor | None


def remember(text: ChatText, weights: AdapterWeights, kept: Adapter, memories: Memories) -> None:
    """Keep examples for replay, and the anchor of a version.

    Args:
        text: tokenizer and chat template.
        weights: of the version, loaded.
        kept: the version.
        memories: what to keep.

    Raises:
        StoreFullError: it cannot be written; the version is not in use yet.
    """
    folder = weights.adapters.shelf.folder
    with ReplayBuffer(folder / REPLAY) as buffer:
        buffer.add(memories.examples)
    rows = [encoded(text, replace(example, soft=None)) for example in memories.weighed]
    found = fisher(weights, rows)
    old = memories.anchor
    anchor = old.then(weights, found) if old is not None else first_anchor(weights, found)
    anchor.save(anchor_path(folder, kept))


def first_of_each(examples: Sequence[Example], most: int) -> list[Example]:
    """The first examples of each lesson."""
    counts: dict[str, int] = {}
    chosen: list[Example] = []
    for example in examples:
        counts[example.source] = counts.get(example.source, 0) + 1
        if counts[example.source] <= most:
            chosen.append(example)
    return chosen


def note(folder: Path, verdict: Verdict) -> None:
    """Add a line about a verdict; it holds numbers and no text of a lesson."""
    with Journal(folder / VERDICTS) as journal:
        journal.append(
            "verdict",
            at=datetime.now(UTC).isoformat(),
            adapter=verdict.adapter,
            accepted=verdict.accepted,
            reasons=list(verdict.reasons),
            figures={name: float(value) for name, value in verdict.figures.items()},
            lessons=len(verdict.lessons),
            retired=len(verdict.retired),
            parent=verdict.parent,
            retention=dict(verdict.retention),
            seconds=verdict.seconds,
        )

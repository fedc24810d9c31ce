"""What became of a sleep or of forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

BackupAction = Literal["rewritten", "removed", "named"]
BackupPolicy = Literal["rewrite", "remove", "keep"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the acceptance test of a new adapter version.

    Attributes:
        adapter: `name@step` where it was accepted; the bare name where it was refused: then nothing was changed.
        accepted: whether the version is in use now.
        reasons: what spoke against it, in numbers.
        figures: what was measured: reliability, generality, locality, drift, lost.
        lessons: that it was trained on, those of its parents included.
        retired: of them, those that the weights answer by themselves; their rows are silent while it is in use.
        parent: the version it was trained from, or empty.
        seconds: that it took.
        retention: version -> share of the lessons that it learned first which the candidate answers; "new" for a
            refused candidate's own.
    """

    adapter: str
    accepted: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    lessons: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    parent: str = ""
    seconds: float = 0.0
    retention: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Which lessons to forget: all that is set must hold, and something must be set.

    Attributes:
        ids: these lessons.
        text: what stands in the question, the answer or the context, ignoring case.
        table: of this look-up table.
        domain: of this subject area.
        source: from this source, a line of it ("facts.csv" also means "facts.csv:3"), or a file below it.
        author: taught by this person.
        tenant: behind this wall.
        taught_after: taught at this moment or later.
        taught_before: taught before this moment.
    """

    ids: tuple[str, ...] = ()
    text: str = ""
    table: str = ""
    domain: str = ""
    source: str = ""
    author: str = ""
    tenant: str = ""
    taught_after: datetime | None = None
    taught_before: datetime | None = None

    @property
    def criteria(self) -> tuple[str, ...]:
        """Names of what is set."""
        names = (field.name for field in fields(self))
        return tuple(name for name in names if getattr(self, name) not in ((), "", None))


@dataclass(frozen=True, slots=True)
class Backup:
    """A file of lessons that everlearn wrote, and what forgetting did to it.

    Attributes:
        path: where it was written.
        kind: "checkpoint" or "export".
        action: "rewritten" without the lessons, "removed", or "named": it is left as it is, since it lies outside the
            state folder or the policy says so, and may still hold them.
    """

    path: str
    kind: str
    action: BackupAction = "named"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Outcome of forgetting.

    Attributes:
        ids: lessons that are gone.
        restored: lessons that speak again, since what had replaced them is gone.
        turns: how many kept turns rested on them and were removed.
        derived: how many derived rows (vectors, corrections) were removed.
        adapters: versions that had been trained on them and are gone; what they knew besides is learned again at the
            next sleep, and until then the rows of those lessons speak.
        backups: files that held them, or may.
        receipt: path of the signed receipt; empty where nothing is kept on disk.
    """

    ids: tuple[str, ...]
    restored: tuple[str, ...] = field(default=())
    turns: int = 0
    derived: int = 0
    adapters: tuple[str, ...] = ()
    backups: tuple[Backup, ...] = ()
    receipt: str = ""

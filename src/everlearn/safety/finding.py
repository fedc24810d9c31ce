"""What a check found in a lesson."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

Danger = Literal["generic", "hub", "hidden", "instruction", "repeated_question", "flood"]


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to hold a lesson back.

    Attributes:
        danger: which kind; stable, meant for programs.
        reason: what was found, as a sentence for the person who reviews it.
    """

    danger: Danger
    reason: str

    def __str__(self) -> str:
        return f"{self.danger}: {self.reason}"

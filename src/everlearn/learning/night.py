"""What one domain's sleep works on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import final

from everlearn.learning.examples import Encoded, Example
from everlearn.learning.restating import Restated, restated
from everlearn.records import Lesson
from everlearn.specialists.adapter import Adapter
from everlearn.specialists.adapters import Adapters


@final
@dataclass(frozen=True, slots=True)
class Night:
    """What one domain's sleep works on."""

    name: str
    lessons: list[Lesson]
    wordings: Mapping[str, Restated]
    parent: Adapter | None
    adapters: Adapters

    @property
    def new(self) -> list[Lesson]:
        """Lessons that the version in use does not know."""
        known = set(self.parent.lessons) if self.parent is not None else set()
        return [lesson for lesson in self.lessons if lesson.id not in known]

    @property
    def trained(self) -> list[tuple[Lesson, str]]:
        """Each lesson with its taught wording and the last one that is trained on."""
        asked = {lesson.id: self.wordings[lesson.id].asked for lesson in self.lessons}
        return [
            (lesson, q) for lesson in self.lessons for q in dict.fromkeys((asked[lesson.id][0], asked[lesson.id][-1]))
        ]


@final
@dataclass(frozen=True, slots=True)
class Unrelated:
    """Prompts about other things with the base model's own answers: examples to train on, their rows, probes."""

    held: list[Example]
    rows: list[Encoded]
    probes: list[Encoded]

    def drawn(self, count: int, *, least: int) -> list[Example]:
        """So many of those to train on, in turn; at least some, as far as there are different ones. 0 = none."""
        if not count:
            return []
        return list(islice(cycle(self.held), max(count, min(len(self.held), least))))


def wordings_of(lesson: Lesson, more: Sequence[str], *, most: int) -> Restated:
    """Wordings of a lesson: the taught one, those of a model, then templates.

    Args:
        lesson: a pair.
        more: wordings that a model gave.
        most: wordings to train on.
    """
    plain = restated(lesson.prompt, lesson.answer, most=most)
    first, *templates = plain.asked
    asked = list(dict.fromkeys([first, *more, *templates]))[:most]
    return Restated(asked, [probe for probe in plain.held_out if probe not in asked], plain.turned)


def adapter_name(domain: str) -> str:
    """The name of a domain's adapter: the domain itself where it can be one, else a short form that is its own."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", domain.lower()).strip("-_")[:48]
    if plain == domain:
        return plain
    return f"{plain or 'domain'}-{hashlib.sha256(domain.encode()).hexdigest()[:6]}"

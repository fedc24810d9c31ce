"""What a recogniser of personal data is: it looks at places one by one, and says how far what begins there reaches.

What is found at a place depends on a few characters before it and a bounded run of characters behind it, and on
nothing else. So a stream can be cleared up to the first place of which this cannot be told yet, and what is found
does not depend on how the text was cut (`held.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

LOOK_BACK = 64  # characters before a place that may matter
AHEAD = 2  # characters behind a run that may matter


@final
@dataclass(frozen=True, slots=True)
class Recogniser:
    """Finds one kind of personal data.

    Attributes:
        kind: of what it finds.
        starts: matches nothing at the places where something may begin; or in front of them, then behind its group
            "cue" of at most `LOOK_BACK` characters. One character before may matter.
        run: (text, place) -> end of all characters that could belong to what begins there, a bounded number.
        reach: (text, place, end of the run) -> end of what begins at the place, 0 where nothing does.
        score: how sure it is, 0..1: below 1 where other things look the same.
    """

    kind: str
    starts: re.Pattern[str]
    run: Callable[[str, int], int]
    reach: Callable[[str, int, int], int]
    score: float = 1.0

    def places(self, text: str) -> Iterator[int]:
        """Places where something may begin, in order."""
        behind = "cue" if "cue" in self.starts.groupindex else 0
        for found in self.starts.finditer(text):
            yield found.end(behind)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """What is found: (start, end), in the order of starts; spans may overlap."""
        for place in self.places(text):
            end = self.reach(text, place, self.run(text, place))
            if end > place:
                yield place, end

    def open_from(self, text: str) -> int:
        """The first place where more text could change what is found; the text's length where there is none."""
        least = len(text) - AHEAD
        return next((p for p in self.places(text) if self.run(text, p) >= least), len(text))


def run_of(pattern: re.Pattern[str]) -> Callable[[str, int], int]:
    """A `run` that is a pattern."""

    def run(text: str, place: int) -> int:
        found = pattern.match(text, place)
        return found.end() if found is not None else place

    return run


def by_pattern(pattern: re.Pattern[str], check: Callable[[str], bool] | None = None) -> Callable[[str, int, int], int]:
    """A `reach` that is a pattern, and a check of what it matched."""

    def reach(text: str, place: int, _end: int) -> int:
        found = pattern.match(text, place)
        return found.end() if found is not None and (check is None or check(found[0])) else 0

    return reach


def longest(ends: Callable[[str, int, int], Iterator[int]], check: Callable[[str], bool]) -> Callable[..., int]:
    """A `reach` that tries the ends that are possible, the farthest first."""

    def reach(text: str, place: int, end: int) -> int:
        return next((e for e in ends(text, place, end) if check(text[place:e])), 0)

    return reach

"""Personal data in a text: found by kind, taken out, or held against it.

Source: the kinds and the way of joining form, check digit and words near by follow Microsoft's presidio (MIT), of which
the recognisers that need no model of a language were the pattern; the code is our own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import final

from everlearn.safety.flag import PII_KINDS, Flag
from everlearn.safety.numbers_of_people import NUMBERS
from everlearn.safety.plain import Plain, plain
from everlearn.safety.recogniser import Recogniser
from everlearn.safety.words_of_people import WORDS

ALL: tuple[Recogniser, ...] = (*NUMBERS, *WORDS)
assert {each.kind for each in ALL} == set(PII_KINDS), "every kind has a recogniser, and no other"


@final
@dataclass(frozen=True, slots=True)
class Patch:
    """A part of a text that is taken out as one: what was found there overlaps.

    Attributes:
        start: of the part.
        end: of the part, exclusive.
        flags: what was found in it, the longest first.
    """

    start: int
    end: int
    flags: tuple[Flag, ...]

    @property
    def label(self) -> str:
        """What stands in its place."""
        return f"[{self.flags[0].category.upper()}]"


def recognisers(kinds: Collection[str]) -> tuple[Recogniser, ...]:
    """The recognisers of these kinds."""
    return tuple(each for each in ALL if each.kind in kinds)


def found_in(text: str, kinds: Collection[str] = PII_KINDS) -> list[Flag]:
    """Personal data of these kinds in a text, in the order of their starts; they may overlap.

    Args:
        text: of any length.
        kinds: which ones are looked for.
    """
    return flags_of(plain(text), recognisers(kinds))


def flags_of(read: Plain, wanted: Iterable[Recogniser]) -> list[Flag]:
    """What some recognisers find in a plain text, as flags on its original, in the order of their starts."""
    flags = [
        Flag(each.kind, each.score, *read.span(start, end), rule_of(each.kind))
        for each in wanted
        for start, end in each.spans(read.text)
    ]
    return sorted(flags, key=lambda flag: (flag.start, -flag.end, flag.category))


def rule_of(kind: str) -> str:
    """The name of the rule that finds a kind."""
    return f"rule/{kind}" if kind == "phrase" else f"pii/{kind}"


def patches(flags: Sequence[Flag]) -> list[Patch]:
    """Flags that overlap joined to one part each, in order.

    Args:
        flags: in the order of their starts.
    """
    joined: list[list[Flag]] = []
    end = -1
    for flag in flags:
        if flag.start >= end:
            joined.append([])
        joined[-1].append(flag)
        end = max(end, flag.end)
    return [_patch(some) for some in joined]


def redacted(text: str, kinds: Collection[str] = PII_KINDS) -> str:
    """A text in which personal data of these kinds is replaced by the name of its kind, as in "[IBAN]"."""
    parts, at = [], 0
    for patch in patches(found_in(text, kinds)):
        parts += [text[at : patch.start], patch.label]
        at = patch.end
    return "".join([*parts, text[at:]])


def _patch(flags: Sequence[Flag]) -> Patch:
    ranked = sorted(flags, key=lambda flag: (flag.start - flag.end, -flag.score, flag.category))
    return Patch(min(flag.start for flag in flags), max(flag.end for flag in flags), tuple(ranked))

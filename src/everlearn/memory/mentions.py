"""What a question names: where its subjects may stand, before anything is known about them."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import final

from everlearn.memory.key import is_grammar, words
from everlearn.memory.relations import Words, named, spelled

_LONGEST = 8  # words
_ASKING = frozenset("what which who whom whose where when why how".split())  # noqa: SIM905
_ASKED_EARLY = 3  # "in which country ..."
_QUOTED = re.compile(r"[\"“”«»]([^\"“”«»]+)[\"“”«»]")


@final
@dataclass(frozen=True, slots=True)
class Mention:
    """A run of words of a question that may be a subject.

    Attributes:
        start: place of its first word.
        end: place behind its last word.
        words: the run, folded.
        text: the run as it is written.
    """

    start: int
    end: int
    words: Words
    text: str


def asks(text: str) -> bool:
    """Whether a text is a question: it ends in a question mark, or has none and begins with an asking word.

    A sentence that is to be completed ("The capital of France is") asks for one thing, whatever it holds. Taken for
    questions, one in ten of them would be answered in hops (docs/log.md).
    """
    if "?" in text or "？" in text:
        return text.rstrip(" \"'”’»)").endswith(("?", "？"))
    return not _ASKING.isdisjoint(words(text)[:_ASKED_EARLY])


def mentions(question: str, subjects: Container[Words]) -> list[Mention]:
    """What a question may be about, longest first; none stands inside another.

    Names (capitalised, quoted or with digits) count by themselves. Known subjects count where they stretch over a name,
    so that "Macau national football team" is one, and inside one ("Pope Pius III" is Pius III), but not inside a title;
    where a question has no name at all, they count alone ("baseball").

    Args:
        question: as it was asked.
        subjects: folded words of all that lessons are known to be about.
    """
    folded = words(question)
    quoted = _quoted(question, folded)
    names = _named(question, folded) | quoted
    known = {span for span in _spans(len(folded)) if tuple(folded[span[0] : span[1]]) in subjects}
    known = {span for span in known if _touches(span, names)} if names else {s for s in known if _solid(folded, s)}
    known -= {span for span in known if any(_within(span, title) for title in quoted)}
    strange = {name for name in names if not any(_within(span, name) for span in known)}
    found = sorted(strange | known, key=lambda span: (span[0] - span[1], span[0]))
    kept = [s for n, s in enumerate(found) if not any(_within(s, other) for other in found[:n])]
    return [Mention(start, end, tuple(folded[start:end]), spelled(question, start, end - start)) for start, end in kept]


def _named(question: str, folded: list[str]) -> set[tuple[int, int]]:
    """Spans of runs of capitalised words and numbers."""
    flags = named(question, len(folded))
    starts = [n for n, flag in enumerate(flags) if flag and (n == 0 or not flags[n - 1])]
    return {(start, flags.index(False, start)) for start in starts}


def _quoted(question: str, folded: list[str]) -> set[tuple[int, int]]:
    """Spans of what stands in quotation marks: a title is one name, whatever words it has."""
    texts = (text.removesuffix("'s").removesuffix("’s") for text in _QUOTED.findall(question))
    places = (_place(folded, words(text)) for text in texts)
    return {span for span in places if span is not None}


def _place(folded: list[str], run: list[str]) -> tuple[int, int] | None:
    """Where a run of words stands."""
    starts = range(len(folded) - len(run) + 1)
    return next(((n, n + len(run)) for n in starts if run and folded[n : n + len(run)] == run), None)


def _spans(count: int) -> list[tuple[int, int]]:
    return [(n, m) for n in range(count) for m in range(n + 1, min(n + _LONGEST, count) + 1)]


def _within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return other[0] <= span[0] and span[1] <= other[1]


def _touches(span: tuple[int, int], names: set[tuple[int, int]]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in names)


def _solid(folded: list[str], span: tuple[int, int]) -> bool:
    return not is_grammar(folded[span[0]]) and not is_grammar(folded[span[1] - 1])

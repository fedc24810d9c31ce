"""Relations: what lessons ask about their subjects, found in the prompts alone.

Prompts that differ in one run of words only ("Who is the author of Misery?", "Who is the author of Dune?") ask the
same of different subjects. What they share is a shape; a shape that several subjects have is a relation. Nobody names
relations or lists them: they are a function of what is taught now, so that a forgotten lesson leaves no trace in them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

from everlearn.memory.key import is_grammar, words

Words = tuple[str, ...]

SUPPORT = 3  # lessons that a shape needs to be a relation
_LONGEST_SUBJECT = 8  # words
_SATURATED = 16  # more lessons than this do not make a shape a better one
_OPENINGS = frozenset("what which who whom whose where when is was are were does did do in on to at the".split())  # noqa: SIM905
_AUXILIARIES = frozenset({"is", "was", "are", "were", "does", "did", "do"})
_ARTICLES = frozenset({"the", "a", "an"})
_JOINERS = frozenset({"of", "and", "for", "de", "la", "von", "van", "der", "al", "du", "da", "the"})  # inside a name
_SPELLED = re.compile(r"[^\W_]+")


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """A prompt without its subject.

    Attributes:
        before: folded words before the subject.
        after: folded words after it.
    """

    before: Words
    after: Words

    def asked_of(self, subject: str) -> str:
        """The question about a subject: "who is the author of misery?"."""
        return f"{' '.join((*self.before, subject, *self.after))}?"

    def phrase(self, subject: str) -> str:
        """The same as a part of a longer question: "the author of misery"."""
        before = list(self.before)
        while before and before[0] in _OPENINGS:
            del before[0]
        while before and before[-1] in _AUXILIARIES:
            del before[-1]
        return " ".join(("the", *before, subject, *self.after))


@final
@dataclass(slots=True)
class Relation:
    """A shape that several lessons have.

    Attributes:
        shape: what they share.
        subjects: folded words of each subject -> the lesson about it.
        names: folded words of each subject -> as it is spelled.
        answers: folded words of each answer -> the answer as taught.
    """

    shape: Shape
    subjects: dict[Words, Fact] = field(default_factory=dict)
    names: dict[Words, str] = field(default_factory=dict)
    answers: dict[Words, str] = field(default_factory=dict)

    def leads_to(self, other: Relation) -> bool:
        """Whether an answer to this is known to be something that the other is asked about."""
        return not self.answers.keys().isdisjoint(other.subjects)


@final
@dataclass(frozen=True, slots=True)
class Fact:
    """What hops need of a lesson."""

    lesson_id: str
    table: str
    prompt: str
    answer: str


@final
class Relations:
    """All relations of some lessons.

    Args:
        facts: the lessons, oldest first.
        rarity: of a folded word.
    """

    def __init__(self, facts: Sequence[Fact], rarity: Callable[[str], float]) -> None:
        cut = [list(cuts(fact.prompt)) for fact in facts]
        support = Counter(shape for several in cut for shape, _ in several)
        self._by_shape: dict[Shape, Relation] = {}
        self._rarity = rarity
        for fact, several in zip(facts, cut, strict=True):
            best = max(several, key=lambda c: (self._weight(c[0], support[c[0]]), c[0].before), default=None)
            if best is not None and self._weight(best[0], support[best[0]]) > 0.0:
                self._put(fact, *best)
        few = [shape for shape, relation in self._by_shape.items() if len(relation.subjects) < SUPPORT]
        for shape in few:
            del self._by_shape[shape]
        self.all: tuple[Relation, ...] = tuple(self._by_shape.values())
        self.subjects: frozenset[Words] = frozenset(s for relation in self.all for s in relation.subjects)
        self.subject_of = {fact.lesson_id: s for relation in self.all for s, fact in relation.subjects.items()}
        self.next = {id(a): tuple(b for b in self.all if a.leads_to(b)) for a in self.all}

    def of(self, shape: Shape) -> Relation | None:
        """The relation of a shape."""
        return self._by_shape.get(shape)

    def _weight(self, shape: Shape, support: int) -> float:
        """How much of a prompt a shape explains, and how surely: rare words that many prompts share are a relation."""
        if support < SUPPORT or all(map(is_grammar, (*shape.before, *shape.after))):
            return -1.0
        return math.log1p(min(support, _SATURATED)) * sum(map(self._rarity, (*shape.before, *shape.after)))

    def _put(self, fact: Fact, shape: Shape, subject: Words) -> None:
        relation = self._by_shape.setdefault(shape, Relation(shape))
        relation.subjects[subject] = fact
        relation.names[subject] = spelled(fact.prompt, len(shape.before), len(subject))
        relation.answers[tuple(words(fact.answer))] = fact.answer


def cuts(prompt: str) -> Iterator[tuple[Shape, Words]]:
    """All ways to cut a subject out of a prompt.

    A subject neither begins nor ends with a word of grammar (an article apart), and takes a run of capitalised words
    whole: "Ford" belongs to the subject of "Who makes the Ford Zephyr?".
    """
    folded = words(prompt)
    capital = named(prompt, len(folded))
    loose = [is_grammar(word) and not flag for word, flag in zip(folded, capital, strict=False)]
    for start in range(len(folded)):
        if loose[start] and folded[start] not in _ARTICLES:
            continue
        for end in range(start + 1, min(start + _LONGEST_SUBJECT, len(folded)) + 1):
            torn = (capital[start - 1] and capital[start]) or (capital[end - 1] and capital[end])
            if not torn and not loose[end - 1] and end - start < len(folded):
                yield Shape(tuple(folded[:start]), tuple(folded[end:])), tuple(folded[start:end])


def around(prompt: str, subject: Words) -> Shape | None:
    """The shape of a prompt around a subject that stands in it; None where it does not, or only as a part of a name."""
    return next((shape for shape, found in cuts(prompt) if found == subject), None)


def spelled(text: str, start: int, count: int) -> str:
    """Some words of a text as they are written there; folded where folding cut the text into other words."""
    folded, found = words(text), list(_SPELLED.finditer(text))
    if len(found) != len(folded):
        return " ".join(folded[start : start + count])
    return text[found[start].start() : found[start + count - 1].end()]


def named(text: str, count: int) -> list[bool]:
    """Which of the `count` words of a text belong to names, with one place more, so that both ends have a neighbour.

    Names are runs of capitalised words and numbers, with what joins them ("Governor of Massachusetts"). The first word
    is capitalised by rule: it counts where another follows and it is not one of grammar. Where folding cut the text
    into other words than spelling does, nothing is known of capitals.
    """
    spelled = _SPELLED.findall(text)
    if len(spelled) != count:
        return [False] * (count + 1)
    capital = [n > 0 and (word != word.lower() or word[0].isdigit()) for n, word in enumerate(spelled)] + [False]
    if count > 1 and spelled[0][0].isupper() and capital[1] and not is_grammar(spelled[0].casefold()):
        capital[0] = True
    joined = [capital[n - 1] and word in _JOINERS and capital[n + 1] for n, word in enumerate(spelled)]
    return [a or b for a, b in zip(capital, [*joined, False], strict=True)]

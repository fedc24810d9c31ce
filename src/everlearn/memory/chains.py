"""Chains: ways to answer a question in several hops, each through a lesson or through what the base model knows.

A chain begins at something the question names. Each hop asks what is known so far about a relation and goes on with the
answer. Hops through lessons are followed by name; where no lesson tells, a hop is left open for the base model, so that
"the capital of the country where X was born" is a chain also when only the capital was taught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.key import words
from everlearn.memory.mentions import Mention
from everlearn.memory.relations import Fact, Relation, Relations, Shape, Words

MOST_OPEN = 2  # hops of a chain that the base model is asked for
_BEAM = 24
_ENOUGH = 2  # candidates of the right kind, so that the others need not be considered
_BRANCHES = 8  # relations that a chain goes on with when no lesson says with which
_OPEN_PENALTY = 0.03  # a lesson is surer than a guess; in shares of the question

Covers = Callable[[Shape], NDArray[np.float32]]
"""How well a shape says what each piece of the question says [T], -1..1."""

About = Callable[[Words], Sequence[tuple[Fact, Shape]]]
"""Lessons about a subject."""


@final
@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a chain.

    Attributes:
        shape: what is asked.
        fact: the lesson that tells it; None where it is open.
        relation: of the shape, where it is one.
        taught: whether a lesson tells it: which one, a hop behind an open one knows only when that was answered.
    """

    shape: Shape
    fact: Fact | None
    relation: Relation | None
    taught: bool


@final
@dataclass(frozen=True, slots=True)
class Chain:
    """Hops from what a question names.

    Attributes:
        mention: where it begins.
        hops: at least one once it is complete.
        covered: [T] how well the hops together say what each piece of the question says.
    """

    mention: Mention
    hops: tuple[Hop, ...]
    covered: NDArray[np.float32]

    @property
    def open(self) -> int:
        """How many hops the base model is asked for."""
        return sum(not hop.taught for hop in self.hops)

    @property
    def question(self) -> str:
        """The whole chain as one question: "what is the capital of the country of citizenship of the author of x?"."""
        subject = " ".join(self.mention.words)
        for hop in self.hops[:-1]:
            subject = hop.shape.phrase(subject)
        return self.hops[-1].shape.asked_of(subject)


@final
class Search:
    """Finds the chains of one question.

    Args:
        relations: of all lessons.
        about: finds lessons about a subject.
        covers: compares shapes with the question.
        weights: [T], how much each piece of the question counts; 0 for what the chain begins with.
        most: hops of a chain.
    """

    def __init__(
        self, relations: Relations, about: About, covers: Covers, weights: NDArray[np.float32], most: int
    ) -> None:
        self._relations, self._about, self._covers = relations, about, covers
        self._weights = weights / max(float(weights.sum()), 1e-6)
        self._most = most
        self._of = {id(relation): place for place, relation in enumerate(relations.all)}
        self._all = np.stack([covers(relation.shape) for relation in relations.all]) if relations.all else None

    def chains(self, mention: Mention) -> list[Chain]:
        """Chains from a mention: all through lessons alone, and the best of those with open hops; best first.

        At least one hop of each goes through a lesson: what nothing was taught about is the base model's own affair.
        """
        sure: list[Chain] = []
        open_: list[Chain] = []
        front = [Chain(mention, (), np.full(len(self._weights), -1.0, np.float32))]
        for _ in range(self._most):
            grown = [longer for chain in front for longer in self._longer(chain)]
            told = [chain for chain in grown if not chain.open]
            guessed = sorted((chain for chain in grown if chain.open), key=self.score, reverse=True)[:_BEAM]
            front = told[:_BEAM] + guessed
            sure += told[:_BEAM]
            open_ += [chain for chain in guessed if any(hop.taught for hop in chain.hops)]
        return sorted(sure, key=self.score, reverse=True) + sorted(open_, key=self.score, reverse=True)[:_BEAM]

    def score(self, chain: Chain) -> float:
        """Share of the question that a chain covers, less for open hops."""
        return float(chain.covered @ self._weights) - _OPEN_PENALTY * chain.open

    def _longer(self, chain: Chain) -> list[Chain]:
        """The chain with each hop that may come next."""
        entity = _entity(chain)
        known = list(self._about(entity)) if entity is not None else []
        used = {hop.fact.lesson_id for hop in chain.hops if hop.fact is not None}
        hops = [
            Hop(shape, fact, self._relations.of(shape), True) for fact, shape in known if fact.lesson_id not in used
        ]
        hops += self._open_hops(chain, {shape for _, shape in known}, entity)
        return [
            Chain(chain.mention, (*chain.hops, hop), np.maximum(chain.covered, self._covers(hop.shape))) for hop in hops
        ]

    def _open_hops(self, chain: Chain, told: set[Shape], entity: Words | None) -> list[Hop]:
        """Hops through relations: to the base model, and behind one to whichever lesson its answer will name."""
        before = chain.hops[-1].relation if chain.hops else None
        if (chain.hops and before is None) or self._all is None:
            return []
        follow = self._relations.all if before is None else self._relations.next[id(before)]
        shapes = {hop.shape for hop in chain.hops} | told
        places = [self._of[id(relation)] for relation in follow if relation.shape not in shapes]
        covered = np.maximum(chain.covered, self._all[places]) @ self._weights
        best = [self._relations.all[places[n]] for n in np.argsort(-covered)[:_BRANCHES].tolist()]
        hops = [Hop(relation.shape, None, relation, False) for relation in best if chain.open < MOST_OPEN]
        return hops + ([Hop(r.shape, None, r, True) for r in best] if entity is None else [])


def _entity(chain: Chain) -> Words | None:
    """What the next hop is asked about; None while an open hop has no answer."""
    if not chain.hops:
        return chain.mention.words
    fact = chain.hops[-1].fact
    return None if fact is None else tuple(words(fact.answer))


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What became of a hop.

    Attributes:
        fact: the lesson that told it; None where the base model did.
        answer: what it told.
        sureness: of the base model, 0..1; 1 where it was taught.
    """

    fact: Fact | None
    answer: str
    sureness: float


def follow(chain: Chain, ask: Callable[[str, Sequence[str]], tuple[str, float]]) -> list[Told] | None:
    """Answer the hops of a chain one after another; None where one has no answer.

    Args:
        chain: with open hops or without.
        ask: asks the base model a question whose answer is one of some candidates (of none: any); answer and sureness.
    """
    subject = chain.mention.text
    told: list[Told] = []
    for place, hop in enumerate(chain.hops):
        fact = hop.fact
        if fact is None and hop.taught and hop.relation is not None:
            fact = hop.relation.subjects.get(tuple(words(subject)))
        if fact is not None:
            told.append(Told(fact, fact.answer, 1.0))
        elif hop.relation is not None and not hop.taught:
            answer, sureness = ask(hop.shape.asked_of(subject), _candidates(chain.hops, place))
            told.append(Told(None, answer, sureness))
        else:
            return None
        subject = told[-1].answer
    return told


def _candidates(hops: Sequence[Hop], place: int) -> list[str]:
    """What an open hop may be answered with: what the next lesson can be about; nothing is known of the last hop.

    Of these, answers that lessons of its own relation have been given come first: only a sport is a sport.
    """
    after = hops[place + 1] if place + 1 < len(hops) else None
    if after is None or after.relation is None or not after.taught:
        return []
    names, own = after.relation.names, hops[place].relation
    fitting = [name for subject, name in names.items() if own is not None and subject in own.answers]
    return fitting if len(fitting) >= _ENOUGH else list(names.values())

"""Hops: several facts in one answer.

Recall finds the one lesson that answers a question. Where none does, because the question asks for a fact about the
answer of another ("the capital of the country where X was born"), recall is iterated over the entities that earlier
hops bring in. Nothing of it is prompting: chains of lessons are searched and scored with the encoder, and a hop that
nobody taught is asked of the base model alone, its answer held to what the next lesson can be about.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.memory.base_knowledge import BaseKnowledge
from everlearn.memory.chain_score import ChainScore, Read, TokenEncoder, evidence
from everlearn.memory.chains import Chain, Search, Told, follow
from everlearn.memory.key import grammar_words, is_grammar, words
from everlearn.memory.mentions import Mention, asks, mentions
from everlearn.memory.relations import Fact, Relation, Relations, Shape, Words, around
from everlearn.memory.word_index import WordIndex
from everlearn.records import Lesson

_log = logging.getLogger(__name__)
MOST_HOPS = 4
MOST_LESSONS = 200_000
"""Above it hops are off: the words of all prompts would take too long to turn round at every start."""
_MINED = 2_000  # oldest lessons whose prompts show which relations there are; more of them are found by their words
_FEW = 64  # up to so many lessons all are read anew after each change
_STEP = 1.125  # above that only when there are so many times more
_SAME_NAME = 32  # lessons about one subject that are looked at
_SURE_CHAINS = 6
_OPEN_CHAINS = 10
_LEAST_COVERED = 0.36  # share of a question that some chain of several hops covers before chains are read at all
_LEAST_GAIN = 0.04  # and by how much more than one hop does; 98 % of the questions that need several pass (docs/log.md)
_NEEDED = 0.5  # probability that a question needs several facts
_NEEDED_OPEN = 0.8  # the same where the base model has to be asked: what nobody taught has to be plainly meant


class Taught(Protocol):
    """Where lessons are read."""

    def lessons_by_id(self, ids: Sequence[str]) -> dict[str, Lesson]:
        """Those of `ids` that exist, by id."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Found:
    """An answer in several hops.

    Attributes:
        told: the hops, first to last.
        probability: that the question needs several facts and this chain of them is meant.
        score: share of the question that the chain covers.
        question: the chain as one question.
    """

    told: tuple[Told, ...]
    probability: float
    score: float
    question: str

    @property
    def answer(self) -> str:
        """What the last hop told."""
        return self.told[-1].answer


@final
class Hops:
    """Answers questions that need several facts.

    Args:
        encoder: sentence encoder.
        rarity: of a folded word.
        score: judges chains.
        knowledge: asks the base model.
        most: hops of a chain; 0 or 1 = off.
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        rarity: Callable[[str], float],
        score: ChainScore,
        knowledge: BaseKnowledge,
        most: int = MOST_HOPS,
    ) -> None:
        self.most = most
        self._encoder, self._rarity, self._score, self._knowledge = encoder, rarity, score, knowledge
        self._index = WordIndex(lambda word: not is_grammar(word))
        self._relations: dict[tuple[str, ...], Relations] = {}
        self._mined: tuple[str, ...] = ()  # lessons that `_relations` were made of
        self._mined_shapes: dict[tuple[Shape, Words], NDArray[np.float32]] = {}
        self._shapes = lru_cache(maxsize=4096)(self._shape)
        self._grammar = frozenset(i for word in grammar_words() for i in encoder.piece_ids(word)[:1])

    def add(self, lessons: Iterable[Lesson]) -> None:
        """Take in lessons that are live now."""
        self.take_in(
            (le.id, le.prompt) for le in lessons if le.kind == "pair"
        )  # the others answer nothing by themselves

    def take_in(self, prompts: Iterable[tuple[str, str]]) -> None:
        """Take in the (id, prompt) of live pairs."""
        if self.most < 2:
            return
        taken = []
        for lesson_id, prompt in prompts:
            if lesson_id in self._index:
                continue  # it came by another way, between two looks at the store
            self._index.add(lesson_id, prompt)
            taken.append(lesson_id)
        self._made_anew(taken)
        if len(self._index) > MOST_LESSONS:
            self.turn_off()

    def turn_off(self) -> None:
        """Answer nothing in hops from now on, and hold no words: there are too many lessons."""
        _log.info("more than %d lessons: no answers in several hops", MOST_LESSONS)
        self.most = 0
        self._index = WordIndex(lambda word: not is_grammar(word))
        self._made_anew(self._mined)

    def remove(self, ids: Iterable[str]) -> None:
        """Let go of lessons, and of everything that was derived of them."""
        gone = [lesson_id for lesson_id in ids if lesson_id in self._index]
        for lesson_id in gone:
            self._index.remove(lesson_id)
        self._made_anew(gone)
        self._shapes.cache_clear()
        self._knowledge.forget()

    def find(
        self, question: str, tables: Sequence[str], store: Taught, holds: Callable[[Lesson], bool]
    ) -> Found | None:
        """The answer of several hops to a question that needs them; None for any other question.

        Args:
            question: what is asked.
            tables: look-up tables that may be used.
            store: holds the lessons.
            holds: whether a lesson is live, and true at the time in question.
        """
        if self.most < 2 or not 2 <= len(self._index) <= MOST_LESSONS or not asks(question):
            return None
        reading = _Reading(store, self._index, frozenset(tables), holds)
        relations = self._related(tuple(sorted(tables)), reading)
        named = mentions(question, relations.subjects)
        if not named or not (relations.all or any(reading.about(mention.words, relations) for mention in named)):
            return None
        found = self._evidence(question, named, relations, reading)
        return self._chosen(found[0], self._score.probabilities(found[1])) if found is not None else None

    def _related(self, tables: tuple[str, ...], reading: _Reading) -> Relations:
        """What the lessons of some tables ask about their subjects."""
        if not self._mined:
            self._mined = tuple(self._index.ids(_how_many(len(self._index))))
        if tables not in self._relations:
            self._relations[tables] = Relations(reading.facts(self._mined), self._rarity)
            self._read_shapes(self._relations[tables])
        return self._relations[tables]

    def _made_anew(self, changed: Iterable[str]) -> None:
        """Drop what was mined where a change touches the lessons that relations have to be made of.

        Those are a function of what is there now, not of when it was asked: or an engine that has forgotten a lesson
        would link facts otherwise than one that never learned it.
        """
        newest = self._mined[-1] if self._mined else ""
        if len(self._mined) != _how_many(len(self._index)) or any(lesson_id <= newest for lesson_id in changed):
            self._relations.clear()
            self._mined_shapes.clear()
            self._mined = ()

    def _read_shapes(self, relations: Relations) -> None:
        """Read the shapes of all relations together, which is several times quicker than one by one."""
        fresh = [k for k in map(_example, relations.all) if k not in self._mined_shapes]
        said = self._encoder.token_states([shape.asked_of(" ".join(subject)) for shape, subject in fresh])
        for key, (_, states) in zip(fresh, said, strict=True):
            self._mined_shapes[key] = self._outside(*key, states)

    def _evidence(
        self, question: str, named: Sequence[Mention], relations: Relations, reading: _Reading
    ) -> tuple[list[Chain], NDArray[np.float32]] | None:
        """Chains [N] that may answer the question, and their features [N, F]."""
        folded = words(question)
        asked = Read.of(self._encoder.token_states([f"{' '.join(folded)}?"])[0], self._grammar)
        covers = lru_cache(maxsize=None)(lambda shape: (self._states(shape, relations) @ asked.states.T).max(0))
        found: list[tuple[float, Chain]] = []
        for mention in named:
            weights = asked.weights.copy()
            weights[self._pieces(folded[: mention.start]) : self._pieces(folded[: mention.end])] = 0.0
            search = Search(relations, lambda w: reading.about(w, relations), covers, weights, self.most)
            found += [(search.score(chain), chain) for chain in search.chains(mention)]
        found.sort(key=lambda pair: -pair[0])
        chains = [chain for _, chain in found if not chain.open][:_SURE_CHAINS]
        chains += [chain for _, chain in found if chain.open][:_OPEN_CHAINS]
        if not _promising(chains, asked):
            return None
        said = self._encoder.token_states([chain.question for chain in chains])
        features = [evidence(asked, c, Read.of(s, self._grammar)) for c, s in zip(chains, said, strict=True)]
        return chains, np.stack(features)

    def _chosen(self, chains: Sequence[Chain], probabilities: NDArray[np.float64]) -> Found | None:
        """The likeliest chain of several hops that leads to an answer, where the question needs several at all."""
        several = [n for n, chain in enumerate(chains) if len(chain.hops) > 1]
        needed = float(sum(probabilities[n] for n in several))
        if needed < _NEEDED:
            return None
        for n in sorted(several, key=lambda n: -probabilities[n]):
            if chains[n].open and needed < _NEEDED_OPEN:
                continue
            told = follow(chains[n], self._knowledge.ask)
            if told is not None and told[-1].answer and any(hop.fact is not None for hop in told):
                return Found(tuple(told), needed, float(chains[n].covered.mean()), chains[n].question)
        return None

    def _states(self, shape: Shape, relations: Relations) -> NDArray[np.float32]:
        """What the pieces of a shape mean [T, K], read around one of its subjects."""
        relation = relations.of(shape)
        return self._mined_shapes[_example(relation)] if relation is not None else self._shapes(shape, ("it",))

    def _shape(self, shape: Shape, subject: Words) -> NDArray[np.float32]:
        _, states = self._encoder.token_states([shape.asked_of(" ".join(subject))])[0]
        return self._outside(shape, subject, states)

    def _outside(self, shape: Shape, subject: Words, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """The states of a question [T, K] without those of its subject."""
        start = self._pieces(shape.before)
        end = start + self._pieces(subject)
        return np.concatenate([states[:start], states[end:]])

    def _pieces(self, run: Sequence[str]) -> int:
        return sum(len(self._encoder.piece_ids(word)) for word in run)


def _how_many(lessons: int) -> int:
    """Of how many lessons, the oldest ones, relations are made. In steps, or each new one would cost seconds."""
    if lessons <= _FEW:
        return lessons
    step = math.floor(math.log(lessons / _FEW) / math.log(_STEP))
    return min(_MINED, math.floor(_FEW * _STEP**step))


def _example(relation: Relation) -> tuple[Shape, Words]:
    """A relation's shape, and a subject to read it around."""
    return relation.shape, next(iter(relation.subjects))


def _promising(chains: Sequence[Chain], asked: Read) -> bool:
    """Whether several hops cover so much more of the question than one that reading the chains is worth its time."""
    shares = asked.weights / asked.weights.sum()
    covered = [(len(chain.hops) > 1, float(chain.covered @ shares)) for chain in chains]
    one = max((share for several, share in covered if not several), default=0.0)
    return max((share for several, share in covered if several), default=0.0) >= max(_LEAST_COVERED, one + _LEAST_GAIN)


@final
class _Reading:
    """The lessons that one question may use, read once each."""

    def __init__(
        self, store: Taught, index: WordIndex, tables: frozenset[str], holds: Callable[[Lesson], bool]
    ) -> None:
        self._store, self._index, self._tables, self._holds = store, index, tables, holds
        self._known: dict[Words, list[tuple[Fact, Shape]]] = {}

    def facts(self, ids: Sequence[str]) -> list[Fact]:
        """Those of `ids` that may be used, in their order."""
        read: Mapping[str, Lesson] = self._store.lessons_by_id(ids)
        lessons = (read[i] for i in ids if i in read)
        return [
            Fact(lesson.id, lesson.table, lesson.prompt, lesson.answer)
            for lesson in lessons
            if lesson.table in self._tables and self._holds(lesson)
        ]

    def about(self, subject: Words, relations: Relations) -> list[tuple[Fact, Shape]]:
        """Lessons about a subject, each with what it asks about it."""
        if subject not in self._known:
            facts = self.facts(self._index.holding(subject, _SAME_NAME))
            fitting = [f for f in facts if relations.subject_of.get(f.lesson_id, subject) == subject]
            cut = [(fact, around(fact.prompt, subject)) for fact in fitting]
            self._known[subject] = [(fact, shape) for fact, shape in cut if shape is not None]
        return self._known[subject]

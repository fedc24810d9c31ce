"""Recall: which entries may speak for a question. Done once per user turn, before prefill."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from everlearn.memory.hops import Found
from everlearn.memory.key import words
from everlearn.memory.table import CANDIDATES, Candidate
from everlearn.records import Decision, Layer, Lesson, Recalled, TableSettings

# A follow-up such as "and when was it founded?" means something only together with the question before it.
_POINTERS = frozenset(
    "it its he his him she her hers they them their theirs that this these those there".split()  # noqa: SIM905
)
_OPENINGS = ("and ", "what about ", "how about ", "or ")
_FOLLOW_UP_WORDS = 12
_LOOK_BACK = 6  # messages
_LEAST_WORDS = 3
_GRAMMAR = 0.2
_MOST_OF_CONTEXT = 0.6
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_RARE = 1.0
PRECEDENCE: Mapping[Layer, int] = {"personal": 0, "team": 1, "organisation": 2, "": 2}
_AS_LIKELY = 0.1  # less likely than the nearest by at most this: both answer the question

Decided = tuple[Candidate | None, tuple[Recalled, ...]]  # who speaks, and who was looked at
Newness = tuple[datetime, str]  # when a lesson starts to hold, and its id, which rises with the order of teaching


@dataclass(frozen=True, slots=True)
class Recall:
    """What recall found for one question.

    Attributes:
        hit: the entry that speaks, if any.
        lesson: its lesson, as it was at that moment.
        recalled: entries that were looked at, nearest first, with what became of them.
        tables: names of the tables that were asked.
        ms: milliseconds it took; the share of one question where several were recalled together.
        as_of: the moment that was asked about; None = now.
        context: lessons that are to be read with the question, best first; none where an entry speaks.
        budgets: table -> tokens that its lessons may add to the prompt.
        found: the answer of several hops, where no one entry has it; then `hit` is None.
        settings: of the table that the last taught hop lies in.
    """

    hit: Candidate | None
    lesson: Lesson | None
    recalled: tuple[Recalled, ...]
    tables: tuple[str, ...]
    ms: float
    as_of: datetime | None = None
    context: tuple[Lesson, ...] = ()
    budgets: Mapping[str, int] = field(default_factory=dict)
    found: Found | None = None
    settings: TableSettings | None = None


def readings(query: str, earlier: Sequence[str], rarity: Callable[[str], float]) -> list[str]:
    """The texts under which a question is looked up: itself, and with the subject of what was asked before if it leans.

    Only the names and rare words of the earlier question are taken over. With all of it the earlier relation would come
    along, and "and when was it founded?" after "who founded X?" would find the founder again.

    Of a message of several sentences the last one is a reading too, since the question mostly stands there.

    Args:
        query: what is asked now.
        earlier: the user's messages before, oldest first; the newest that has a subject gives it.
        rarity: of a folded word; names and numbers have about 1 and more.
    """
    if len(words(query)) > _FOLLOW_UP_WORDS:
        return [query, *last_sentence(query)]
    if not query.casefold().startswith(_OPENINGS) and _POINTERS.isdisjoint(words(query)):
        return [query]
    subjects = (_subject(text, rarity) for text in reversed(earlier[-_LOOK_BACK:]))
    subject = next((s for s in subjects if s), None)
    return [query, f"{query} {' '.join(subject)}"] if subject else [query]


def last_sentence(text: str) -> list[str]:
    """The last sentence of a text of several, where it says enough to be looked up; else nothing."""
    sentences = [s for s in _SENTENCE_END.split(text.strip()) if s]
    if len(sentences) < 2 or len(words(sentences[-1])) < _LEAST_WORDS:
        return []
    return [sentences[-1]]


def content(context: str, rarity: Callable[[str], float]) -> frozenset[str]:
    """Words of a lesson's context that say something."""
    return frozenset(word for word in words(context) if rarity(word) > _GRAMMAR)


def tells(said: frozenset[str], context: frozenset[str]) -> bool:
    """Whether a question tells the context that a lesson holds in: most of its words stand in the question."""
    return len(context & said) >= _MOST_OF_CONTEXT * len(context)


def _subject(text: str, rarity: Callable[[str], float]) -> list[str]:
    """Words that name what a question is about: capitalised inside a sentence, rare, or with a digit."""
    spoken = [w.strip("?!.,;:\"'()") for w in text.split()]
    return [
        word
        for n, word in enumerate(spoken)
        if word and ((n > 0 and word[0].isupper()) or word[0].isdigit() or rarity(word.casefold()) >= _RARE)
    ]


def decide(candidates: Sequence[Candidate], passages: Sequence[Candidate] = ()) -> Decided:
    """Choose who speaks: the nearest of those that reach their table's threshold.

    The gate says whether an entry may speak, the cosine which one does: the gate was fitted to tell questions from
    their look-alikes, and between two that both pass it the plain distance is the better judge (docs/log.md). An entry
    that was found under several readings counts with its likeliest; of two equally near ones the newer speaks. Of those
    that are about as likely as the nearest, personal memory speaks before a team's, a team's before the organisation's.
    Where none speaks, passages that are likely enough to hold the answer, and entries between their table's two
    thresholds, are read with the question.
    """
    ranked = sorted(_best(candidates), key=lambda c: (c.score, c.lesson_id), reverse=True)[:CANDIDATES]
    hit = _speaker([c for c in ranked if c.may_speak])
    recalled = [_recalled(c, _decision(c, hit)) for c in ranked]
    if hit is None:
        likely = sorted(_best(passages), key=lambda c: (c.probability, c.score, c.lesson_id), reverse=True)
        recalled += [_recalled(c, _reading(c)) for c in likely[:CANDIDATES]]
    return hit, tuple(recalled)


def _best(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each lesson once, under the reading that makes it likeliest."""
    best: dict[str, Candidate] = {}
    for found in candidates:
        if found.lesson_id not in best or found.probability > best[found.lesson_id].probability:
            best[found.lesson_id] = found
    return list(best.values())


def to_be_read(recalled: Sequence[Recalled]) -> list[str]:
    """Ids of the lessons that are to be read with the question, likeliest first."""
    reading = [each for each in recalled if each.decision == "context"]
    return [each.lesson_id for each in sorted(reading, key=lambda each: -each.probability)]


def _speaker(ranked: Sequence[Candidate]) -> Candidate | None:
    """Of candidates that may speak, nearest first, the one that does."""
    if not ranked:
        return None
    rivals = [c for c in ranked if c.probability >= ranked[0].probability - _AS_LIKELY]
    return min(rivals, key=lambda c: PRECEDENCE[c.settings.layer])


def spoken_beside(decided: Decided, rivals: Mapping[str, Newness]) -> Decided:
    """Let the newest of several answers to one question speak; what was decided by distance stands for all others.

    Args:
        decided: as by `decide`; its hit is one of the rivals.
        rivals: lessons that were kept beside each other -> how new they are.
    """
    hit, seen = decided
    able = [r for r in seen if r.lesson_id in rivals and r.decision in ("spoke", "outranked")]
    newest = max(able, key=lambda r: rivals[r.lesson_id], default=None)
    if hit is None or newest is None:
        return decided
    speaker = replace(hit, lesson_id=newest.lesson_id, table=newest.table, score=newest.score)
    speaker = replace(speaker, probability=newest.probability)
    return speaker, tuple(_beside(r, newest) if r in able else r for r in seen)


def _beside(recalled: Recalled, speaker: Recalled) -> Recalled:
    return replace(recalled, decision="spoke" if recalled is speaker else "kept_beside")


def with_hops(decided: Decided, found: Found) -> tuple[Recalled, ...]:
    """The receipt of an answer in several hops: its lessons in their order, then what else was looked at."""
    facts = list(dict.fromkeys(told.fact for told in found.told if told.fact is not None))
    used = {fact.lesson_id for fact in facts}
    hops = tuple(Recalled(f.lesson_id, f.table, found.score, found.probability, "hop") for f in facts)
    others = (r for r in decided[1] if r.lesson_id not in used)
    able = {"spoke", "context", "no_room"}  # now neither given nor read
    return hops + tuple(replace(r, decision="outranked") if r.decision in able else r for r in others)


def _recalled(candidate: Candidate, decision: Decision) -> Recalled:
    return Recalled(
        candidate.lesson_id,
        candidate.table,
        candidate.score,
        candidate.probability,
        decision,
        candidate.settings.layer,
    )


def _decision(candidate: Candidate, hit: Candidate | None) -> Decision:
    if candidate is hit:
        return "spoke"
    if candidate.probability < candidate.settings.threshold:
        return _reading(candidate) if hit is None else "below_threshold"
    return "outranked" if candidate.may_speak else "silent"


def _reading(candidate: Candidate) -> Decision:
    """Whether a lesson that does not speak is read with the question."""
    settings = candidate.settings
    if candidate.probability < settings.context_threshold or not settings.context_tokens:
        return "below_threshold"
    return "context" if settings.residual > 0.0 else "silent"

"""Judging: which entry speaks for a question, what is read with it, and whether it takes several facts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import final

from everlearn.memory.contents import Contents
from everlearn.memory.hops import Found, Hops
from everlearn.memory.key import Key, KeyMaker, words
from everlearn.memory.recall import Decided, decide, readings, spoken_beside, tells
from everlearn.memory.table import Candidate, Holding, holds_now
from everlearn.records import Lesson, TableSettings
from everlearn.store.port import LessonStore
from everlearn.store.times import starts_at

HOPS_OVER_A_HIT = 0.8
"""A question that one entry answers is answered in hops only where that is plainly meant."""


@final
class Judging:
    """Judges questions. The caller holds the memory's lock.

    Args:
        store: lessons.
        keys: makes keys of questions.
        entries: what can be asked.
        hops: answers questions that need several facts; None = nobody does.
    """

    def __init__(self, store: LessonStore, keys: KeyMaker, entries: Contents, hops: Hops | None) -> None:
        self._store = store
        self._keys = keys
        self._entries = entries
        self._hops = hops

    def decided(
        self,
        queries: Sequence[tuple[str, Sequence[str]]],
        names: Sequence[str],
        as_of: datetime | None,
        without: Collection[str] = (),
    ) -> list[Decided]:
        """For each question who speaks and who was looked at.

        Args:
            queries: (question, the user's messages before it, oldest first).
            names: of tables that are there.
            as_of: the moment that is asked about; None = now.
            without: ids of lessons that are passed over.
        """
        entries, asked = self._entries, [self._entries.tables[n] for n in names]
        if as_of is not None:
            asked += entries.past.tables(asked)
        asked = [table for table in asked if len(table)]
        sealed = {n: entries.tables[n].settings for n in names if as_of is None and entries.sealed.holds_any([n])}
        reading = {name: entries.tables[name].settings for name in names} if entries.passages.holds_any(names) else {}
        if not asked and not sealed and not reading:
            return [(None, ()) for _ in queries]
        texts = [readings(query, earlier, self._keys.rarity) for query, earlier in queries]
        behind = [[f"{query}\n{earlier[-1]}"] if entries.contexts and earlier else [] for query, earlier in queries]
        flat = [text for several, more in zip(texts, behind, strict=True) for text in (*several, *more)]
        keys = [
            self._keys.key_of(text, e.vector, e.states) for text, e in zip(flat, self._keys.read(flat), strict=True)
        ]
        holding = None if as_of is None else entries.past.holding(as_of)
        judged = [[c for table in asked for c in table.candidates(key, holding=holding)] for key in keys]
        if sealed:
            judged = [
                [*seen, *entries.sealed.candidates(k.vector, sealed)] for seen, k in zip(judged, keys, strict=True)
            ]
        if without:
            judged = [[c for c in seen if c.lesson_id not in without] for seen in judged]
        found = iter([(key, self._told(seen, text)) for key, seen, text in zip(keys, judged, flat, strict=True)])
        decided = []
        for several, more in zip(texts, behind, strict=True):
            own = [next(found) for _ in several]
            seen = [c for _, candidates in own for c in candidates]
            seen += [c for _ in more for c in next(found)[1] if c.lesson_id in entries.contexts]
            speaks = not reading or any(c.may_speak for c in seen)
            passages = [] if speaks else [c for key, _ in own for c in self._passages(key, reading, holding)]
            decided.append(self._settled(decide(seen, [c for c in passages if c.lesson_id not in without])))
        return decided

    def in_hops(
        self, query: str, decided: Decided, names: Sequence[str], without: Collection[str] = ()
    ) -> Found | None:
        """The answer in several hops, where there is one; a question in a lesson's own words needs none."""
        hit = decided[0]
        if self._hops is None or (hit is not None and hit.probability >= 1.0):
            return None
        tables = self._entries.tables
        speaking = [name for name in names if tables[name].settings.residual > 0.0 and len(tables[name])]

        def holds(lesson: Lesson) -> bool:
            return lesson.id not in without and holds_now(lesson) and self._entries.is_live(lesson)

        found = self._hops.find(query, speaking, self._store, holds) if speaking else None
        return found if found is not None and (hit is None or found.probability >= HOPS_OVER_A_HIT) else None

    def _passages(self, key: Key, reading: Mapping[str, TableSettings], holding: Holding | None) -> list[Candidate]:
        """Passages that may hold the answer; of an earlier moment those that were known then."""
        found = self._entries.passages.candidates(key, reading)
        if holding is None:
            return found
        held = holding([c.lesson_id for c in found])
        return [c for c in found if c.lesson_id in held]

    def _settled(self, decided: Decided) -> Decided:
        """Between answers to one question that were kept beside each other the one with the newest start speaks."""
        hit, seen = decided
        if hit is None or hit.lesson_id not in self._entries.beside:
            return decided
        rivals = {hit.lesson_id, *self._entries.beside[hit.lesson_id]}
        lessons = self._store.lessons_by_id([r.lesson_id for r in seen if r.lesson_id in rivals])
        return spoken_beside(decided, {i: (starts_at(lesson), i) for i, lesson in lessons.items()})

    def _told(self, found: list[Candidate], text: str) -> list[Candidate]:
        """Candidates without those that hold in a context which the question does not tell."""
        if not self._entries.contexts:
            return found
        said = frozenset(words(text))
        return [c for c in found if tells(said, self._entries.contexts.of(c.lesson_id))]

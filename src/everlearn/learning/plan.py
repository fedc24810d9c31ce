"""What teaching a batch will write: which lessons it replaces, where in time it stands, what it is kept beside."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import final

from everlearn.errors import ConflictError
from everlearn.learning.quarantine import Watch
from everlearn.learning.timeline import Timeline
from everlearn.memory.key import Key
from everlearn.memory.memory import Memory
from everlearn.memory.phrase import Encoded
from everlearn.memory.table import LookupTable
from everlearn.records import Lesson, OnConflict, Taught
from everlearn.store.ids import new_id
from everlearn.store.times import outranks, overlap
from everlearn.text.clean import same_words


@final
class Plan:
    """A batch under way. Lessons of the batch see those before them.

    Args:
        memory: whose active lessons they may contradict.
        on_conflict: what becomes of those.
        watch: holds back what would do harm.
        replaces: ids of active lessons that are replaced in any case, whatever they ask.
    """

    def __init__(self, memory: Memory, on_conflict: OnConflict, watch: Watch, replaces: Collection[str] = ()) -> None:
        self._memory = memory
        self._on_conflict = on_conflict
        self._watch = watch
        self._replaces = frozenset(replaces)
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._now = datetime.now(UTC)
        self._timeline = Timeline(memory.store)
        self._scratch: dict[str, LookupTable] = {}
        self._outcomes: list[Lesson | tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        self.beside: list[tuple[str, str]] = []
        self.encoded: dict[str, Encoded] = {}

    @property
    def superseded(self) -> dict[str, str]:
        """Stored lesson -> the new lesson that replaces it, or comes between it and its successor."""
        return self._timeline.relinked

    def add(self, lesson: Lesson, encoded: Encoded) -> None:
        """Decide what becomes of a lesson.

        Args:
            lesson: prepared.
            encoded: its question.

        Raises:
            ConflictError: it contradicts an active lesson, which is to be refused.
        """
        made = dataclasses.replace(
            lesson, id=new_id(), taught_at=self._now, status="active", superseded_by="", quarantine=""
        )
        if made.kind == "passage":  # two passages never contradict each other: each is read for itself
            self._add_passage(made, encoded)
            return
        rivals = self._same_question(made, encoded)
        known = next((r for r in rivals if _says_no_more(made, r)), None)
        others = [r for r in rivals if r is not known and (r.id in self._replaces or _differs(made, r))]
        clashing = [r for r in others if r.answer != made.answer and overlap(made, r)]
        if known is not None and not others:
            self._outcomes.append(known)
            return
        warnings = self._watch.warnings(lesson, encoded)
        if warnings and self._watch.holds:
            self._hold(made, warnings)
            return
        self._warnings[made.id] = warnings
        if clashing and self._on_conflict == "reject":
            raise ConflictError(
                f"{made.prompt!r} is answered by lesson {clashing[0].id} with {clashing[0].answer!r} already.",
                hint="Teach with on_conflict='supersede' to replace it, or 'keep_both', or forget that lesson first.",
            )
        if self._on_conflict == "keep_both":
            self._write(made, encoded, [], beside=[r.id for r in clashing])
        elif any(outranks(r, made) for r in others):
            self._write_into_the_past(made, encoded, [r for r in others if outranks(r, made)])
        else:
            self._write(made, encoded, [*others, *([known] if known else [])])

    def _add_passage(self, made: Lesson, encoded: Encoded) -> None:
        first = Encoded(encoded.vector[0], encoded.states) if len(encoded.vector) else encoded
        warnings = self._watch.warnings(made, first)
        if warnings and self._watch.holds:
            self._hold(made, warnings)
            return
        self._warnings[made.id] = warnings
        self._timeline.new[made.id] = made
        self.encoded[made.id] = encoded
        self._outcomes.append((made.id, (), ()))

    def committed(self) -> list[Lesson]:
        """The new lessons, complete."""
        return list(self._timeline.new.values())

    def outcomes(self) -> list[Taught]:
        """One for each lesson that was added."""
        return [Taught(o, known=True) if isinstance(o, Lesson) else self._taught(*o) for o in self._outcomes]

    def _taught(self, lesson_id: str, superseded: tuple[str, ...], beside: tuple[str, ...]) -> Taught:
        warnings = self._warnings.get(lesson_id, ())
        return Taught(self._timeline.new[lesson_id], superseded, beside=beside, warnings=warnings)

    def _hold(self, made: Lesson, warnings: Sequence[str]) -> None:
        """Keep a lesson where no question finds it."""
        held = self._watch.held(made)
        if held is not None:
            self._outcomes.append(held)
            return
        reason = " ".join(warnings)
        self._timeline.new[made.id] = dataclasses.replace(made, status="quarantined", quarantine=reason)
        self._outcomes.append((made.id, (), ()))

    def _same_question(self, lesson: Lesson, encoded: Encoded) -> list[Lesson]:
        """Active lessons that ask the same, stored ones first."""
        key = self._memory.keys.key_of(lesson.question, encoded.vector)
        scratch = self._scratch.get(lesson.table)
        ids = [
            *self._replaces,
            *self._memory.table(lesson.table).same_question(key),
            *(scratch.same_question(key) if scratch else []),
        ]
        if lesson.kind != "passage":
            ids += self._memory.sealed.same_question(lesson.table, encoded.vector)
        # The table may hold superseded lessons whose successors' time has not come.
        return [found for found in self._timeline.lessons(list(dict.fromkeys(ids))) if found.status == "active"]

    def _write_into_the_past(self, made: Lesson, encoded: Encoded, later: Iterable[Lesson]) -> None:
        """Put a lesson in front of what is true from a later time."""
        successor = self._timeline.next_after(made, min(later, key=lambda lesson: lesson.valid_from or self._now))
        before = self._timeline.before(successor.id)
        twin = next((lesson for lesson in before if _says_no_more(made, lesson)), None)
        if twin is not None:
            self._outcomes.append(twin)
            return
        key = self._memory.keys.key_of(made.question, encoded.vector)
        earlier = [lesson for lesson in before if self._memory.gate.same_question(key, self._key_of(lesson))]
        made = dataclasses.replace(made, status="superseded", superseded_by=successor.id)
        self._write(made, encoded, [le for le in earlier if _differs(made, le) and not outranks(le, made)])

    def _key_of(self, lesson: Lesson) -> Key:
        known = self.encoded.get(lesson.id)
        vector = self._memory.vector_of(lesson) if known is None else known.vector
        return self._memory.keys.key_of(lesson.question, vector)

    def _write(self, made: Lesson, encoded: Encoded, replaced: Sequence[Lesson], beside: Sequence[str] = ()) -> None:
        for old in replaced:
            self._timeline.link(old, made.id)
            scratch = self._scratch.get(old.table)
            if scratch is not None and old.id in scratch:
                scratch.remove(old.id)
        self._timeline.new[made.id] = made
        self.encoded[made.id] = encoded
        self.beside += [(made.id, other) for other in beside]
        if made.status == "active":
            self._scratch_of(made.table).add([made.id], [made.question], encoded.vector[None])
        self._outcomes.append((made.id, tuple(r.id for r in replaced), tuple(beside)))

    def _scratch_of(self, name: str) -> LookupTable:
        if name not in self._scratch:
            table = self._memory.table(name)
            self._scratch[name] = LookupTable(name, table.settings, self._memory.keys, self._memory.gate)
        return self._scratch[name]


def _says_no_more(new: Lesson, there: Lesson) -> bool:
    """Whether a lesson is there already: the same words, the same answer, and no other time than the known one."""
    if new.answer != there.answer or same_words(new.question) != same_words(there.question):
        return False
    return (new.valid_from, new.valid_to) in ((None, None), (there.valid_from, there.valid_to))


def _differs(new: Lesson, there: Lesson) -> bool:
    """Whether a lesson says something else than one that asks the same: another answer, or another time of it."""
    if new.answer != there.answer:
        return True
    return same_words(new.question) == same_words(there.question) and not _says_no_more(new, there)

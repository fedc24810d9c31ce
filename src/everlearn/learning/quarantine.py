"""Quarantine: lessons that would hijack questions or carry orders are held back until somebody has looked at them."""

from __future__ import annotations

import sys
from typing import final, get_args

import numpy as np
from numpy.typing import NDArray

from everlearn.errors import ConflictError, SettingsError, StoreBusyError
from everlearn.memory.key import words
from everlearn.memory.memory import Memory
from everlearn.memory.phrase import Encoded
from everlearn.records import Lesson, OnConflict, Quarantine, Taught
from everlearn.safety.guard import Evidence, Guard
from everlearn.safety.hubs import MOST_HIJACKED
from everlearn.store.port import LessonQuery, StaleError
from everlearn.text.clean import same_words

_ATTEMPTS = 20
_LOOKS_ALIKE = 0.7  # cosine


@final
class Watch:
    """Judges lessons on their way into a memory.

    Args:
        memory: whose lessons they are compared with.
        policy: "on" holds back, "warn" only says so, "off" does not look.

    Raises:
        SettingsError: another policy.
    """

    def __init__(self, memory: Memory, policy: Quarantine = "on") -> None:
        if policy not in get_args(Quarantine):
            raise SettingsError(f"quarantine is {policy!r}.", hint=f"Wanted: {', '.join(get_args(Quarantine))}.")
        self._memory = memory
        self._guard = Guard(memory.keys, words) if policy != "off" else None
        self.holds = policy == "on"

    def warnings(self, lesson: Lesson, encoded: Encoded) -> tuple[str, ...]:
        """Reasons to hold a lesson back.

        Args:
            lesson: to be learned.
            encoded: what its key is made of.
        """
        if self._guard is None:
            return ()
        hijacked = 0 if lesson.kind == "passage" else self._hijacked(lesson, encoded)
        return self._judged(lesson, encoded.vector, hijacked)

    def warnings_alone(self, lesson: Lesson, vector: NDArray[np.float32] | None = None) -> tuple[str, ...]:
        """Reasons to hold a lesson back that is not compared with others; its key vector [K], where it is there."""
        if self._guard is None:
            return ()
        memory, asked = self._memory, lesson.kind != "passage"
        if vector is None or len(vector) != memory.keys.width:
            vector = memory.keys.vectors([lesson.question])[0] if asked else np.zeros(memory.keys.width, np.float32)
        return self._judged(lesson, vector, 0)

    def held(self, lesson: Lesson) -> Lesson | None:
        """The same lesson where it is held back already."""
        query = LessonQuery(table=lesson.table, status="quarantined", text=lesson.answer, limit=sys.maxsize)
        wanted = (same_words(lesson.prompt), lesson.answer, lesson.position)
        held = self._memory.store.lessons(query)
        return next((h for h in held if (same_words(h.prompt), h.answer, h.position) == wanted), None)

    def _judged(self, lesson: Lesson, vector: NDArray[np.float32], hijacked: int) -> tuple[str, ...]:
        assert self._guard is not None
        passage = lesson.kind == "passage"
        evidence = Evidence(lesson.prompt, lesson.answer, vector, lesson.context, passage, lesson.source, hijacked)
        return tuple(str(finding) for finding in self._guard.judge(evidence))

    def _hijacked(self, lesson: Lesson, encoded: Encoded) -> int:
        """Questions of other lessons that this one would answer, otherwise than they are answered."""
        table = self._memory.table(lesson.table)
        if sum(score >= _LOOKS_ALIKE for _, score in table.near(encoded.vector)) < MOST_HIJACKED:
            return 0  # the gate is asked only where there is a crowd: it costs milliseconds
        key = self._memory.keys.key_of(lesson.question, encoded.vector, encoded.states)
        speaking = [c.lesson_id for c in table.candidates(key) if c.may_speak]
        answers = {found.answer for found in self._memory.store.lessons_by_id(speaking).values()}
        return len(answers - {lesson.answer})


def release(memory: Memory, lesson_id: str, *, on_conflict: OnConflict = "supersede") -> Taught:
    """Make a quarantined lesson active: it answers from now on, and replaces what answers its question otherwise.

    Raises:
        LessonNotFoundError: no lesson has this id.
        LessonError: it is not quarantined.
        ConflictError: `on_conflict` is "reject" and it contradicts an active lesson.
        StoreBusyError: other processes kept changing the store.
    """
    for _ in range(_ATTEMPTS):
        with memory.lock:
            seq = memory.refresh()
            lesson = memory.store.lesson(lesson_id)
            key = memory.keys.key(lesson.question)
            same = memory.store.lessons_by_id(memory.table(lesson.table).same_question(key))
            rivals = [rival.id for rival in same.values() if rival.answer != lesson.answer]
            if rivals and on_conflict == "reject":
                raise ConflictError(
                    f"{lesson.prompt!r} is answered by lesson {rivals[0]} otherwise.",
                    hint="Release it with on_conflict='supersede' to replace that one.",
                )
            try:
                memory.store.release(lesson_id, rivals, expected_seq=seq)
            except StaleError:
                continue  # another process taught in between: what is a conflict has to be decided again
            memory.refresh()
            return Taught(memory.store.lesson(lesson_id), tuple(rivals))
    raise StoreBusyError("Other processes kept changing the store.", hint="Nothing was released; try again.")

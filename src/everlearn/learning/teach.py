"""Teaching: Lesson -> checks -> key -> conflict check -> durable commit -> visible row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import final, get_args

from everlearn.engine.engine import Engine
from everlearn.errors import ConflictError, LessonError, SettingsError, StoreBusyError
from everlearn.learning.quarantine import Watch
from everlearn.memory.correction import told_ids
from everlearn.memory.memory import Memory
from everlearn.memory.phrase import Encoded
from everlearn.memory.table import LookupTable
from everlearn.records import DEFAULT_TENANT, Lesson, LessonKind, OnConflict, Taught
from everlearn.store.ids import new_id
from everlearn.store.port import ImportProgress, StaleError
from everlearn.text.clean import (
    MAX_ANSWER_CHARACTERS,
    MAX_CONTEXT_CHARACTERS,
    MAX_PROMPT_CHARACTERS,
    checked,
    same_words,
)

_ATTEMPTS = 20


def prepared(lesson: Lesson, engine: Engine) -> Lesson:
    """A lesson with clean text, or the reason why it cannot be learned.

    Raises:
        LessonError: empty, too long for people or for the model, not spellable, another field out of its range.
    """
    prompt = checked(lesson.prompt, what="The prompt", limit=MAX_PROMPT_CHARACTERS, error=LessonError)
    answer = checked(lesson.answer, what="The answer", limit=MAX_ANSWER_CHARACTERS, error=LessonError)
    kind, context = _kind_of(lesson)
    question = dataclasses.replace(lesson, prompt=prompt, context=context).question
    tokens = len(told_ids(engine.text, question, question, answer)) + len(engine.text.answer_ids(answer))
    if tokens > engine.model.context_length:
        raise LessonError(
            f"The lesson takes {tokens:,} tokens to read and answer; {engine.name} has room for "
            f"{engine.model.context_length:,}.",
            hint="Shorten the prompt or the answer.",
        )
    _check_fields(lesson)
    return dataclasses.replace(lesson, prompt=prompt, answer=answer, context=context, kind=kind)


def _kind_of(lesson: Lesson) -> tuple[LessonKind, str]:
    """Kind and clean context; a pair with a context is a context pair."""
    kind: LessonKind = "context_pair" if lesson.kind == "pair" and lesson.context else lesson.kind
    if kind not in get_args(LessonKind):
        raise LessonError(f"The kind is {kind!r}.", hint=f"Wanted: {', '.join(get_args(LessonKind))}.")
    if kind != "context_pair":
        if lesson.context:
            raise LessonError("A passage has a context.", hint="Only a context pair has one.")
        return kind, ""
    return kind, checked(lesson.context, what="The context", limit=MAX_CONTEXT_CHARACTERS, error=LessonError)


def _check_fields(lesson: Lesson) -> None:
    if isinstance(lesson.importance, bool) or not isinstance(lesson.importance, int | float):
        raise LessonError(
            f"importance is {lesson.importance!r}, wanted a number 0 to 1.", hint="0.5 is the usual value."
        )
    if not 0.0 <= lesson.importance <= 1.0:
        raise LessonError(f"importance is {lesson.importance}, wanted 0 to 1.", hint="0.5 is the usual value.")
    for field in ("valid_from", "valid_to"):
        time = getattr(lesson, field)
        if time is not None and (not isinstance(time, datetime) or time.tzinfo is None):
            raise LessonError(f"{field} is {time!r}, wanted a datetime with its zone.", hint="Add tzinfo=UTC.")
    if lesson.valid_from and lesson.valid_to and lesson.valid_to <= lesson.valid_from:
        raise LessonError(f"valid_to {lesson.valid_to} is not after valid_from {lesson.valid_from}.", hint="Swap them?")
    for field in ("table", "domain", "source", "author", "tenant", "position"):
        checked(getattr(lesson, field) or "-", what=f"The {field}", limit=1_000, error=LessonError)
    if lesson.tenant != DEFAULT_TENANT:
        raise LessonError(
            f"The tenant is {lesson.tenant!r}; this version knows {DEFAULT_TENANT!r} only, no walls between several.",
            hint="Use a state folder for each tenant.",
        )


def teach(
    memory: Memory,
    lessons: Sequence[Lesson],
    *,
    on_conflict: OnConflict = "supersede",
    imported: ImportProgress | None = None,
    watch: Watch | None = None,
) -> list[Taught]:
    """Commit prepared lessons in one durable transaction, and make them visible.

    A lesson whose question is asked by an active entry of the same table, with another answer, supersedes that entry. A
    lesson that is active already, word for word, is left as it is. What `watch` holds back is kept, but never recalled.

    Raises:
        SettingsError: another `on_conflict`.
        ConflictError: `on_conflict` is "reject" and a lesson contradicts an active one; nothing is written.
        StoreBusyError: other processes kept changing the store.
    """
    if on_conflict not in get_args(OnConflict):
        raise SettingsError(f"on_conflict is {on_conflict!r}.", hint=f"Wanted: {' or '.join(get_args(OnConflict))}.")
    read = memory.keys.read([le.question for le in lessons])
    for _ in range(_ATTEMPTS):
        with memory.lock:
            seq = memory.refresh()
            plan = _Plan(memory, on_conflict, watch or Watch(memory, "off"))
            for lesson, encoded in zip(lessons, read, strict=True):
                plan.add(lesson, encoded)
            try:
                memory.store.teach(plan.committed(), plan.superseded, expected_seq=seq, progress=imported)
            except StaleError:
                continue  # another process taught in between: what is a conflict has to be decided again
            memory.refresh(plan.encoded)
            return plan.outcomes()
    raise StoreBusyError(
        f"Other processes changed the store {_ATTEMPTS} times while {len(lessons)} lessons were taught.",
        hint="Nothing was written; try again.",
    )


@final
class _Plan:
    """What teaching a batch will write. Lessons of the batch see those before them."""

    def __init__(self, memory: Memory, on_conflict: OnConflict, watch: Watch) -> None:
        self._memory = memory
        self._watch = watch
        self._on_conflict = on_conflict
        self._now = datetime.now(UTC)
        self._new: dict[str, Lesson] = {}
        self._scratch: dict[str, LookupTable] = {}
        self._outcomes: list[tuple[str, tuple[str, ...]] | Lesson] = []
        self._warnings: dict[str, tuple[str, ...]] = {}
        self.superseded: dict[str, str] = {}  # stored lesson -> new lesson
        self.encoded: dict[str, Encoded] = {}

    def add(self, lesson: Lesson, encoded: Encoded) -> None:
        rivals = self._same_question(lesson, encoded)
        words = same_words(lesson.question)
        known = next((r for r in rivals if r.answer == lesson.answer and same_words(r.question) == words), None)
        others = [r for r in rivals if r.answer != lesson.answer]
        if known is not None and not others:
            self._outcomes.append(known)
            return
        warnings = self._watch.warnings(lesson, encoded)
        if warnings and self._watch.holds:
            self._hold(lesson, warnings)
            return
        if others and self._on_conflict == "reject":
            raise ConflictError(
                f"{lesson.prompt!r} is answered by lesson {others[0].id} with {others[0].answer!r} already.",
                hint="Teach with on_conflict='supersede' to replace it, or forget that lesson first.",
            )
        self._warnings[self._write(lesson, encoded, [*others, *([known] if known else [])])] = warnings

    def committed(self) -> list[Lesson]:
        """The new lessons, complete."""
        return list(self._new.values())

    def outcomes(self) -> list[Taught]:
        """One for each lesson that was added."""
        return [
            Taught(o, known=True)
            if isinstance(o, Lesson)
            else Taught(self._new[o[0]], o[1], warnings=self._warnings.get(o[0], ()))
            for o in self._outcomes
        ]

    def _same_question(self, lesson: Lesson, encoded: Encoded) -> list[Lesson]:
        key = self._memory.keys.key_of(lesson.question, encoded.vector)
        stored = [i for i in self._memory.table(lesson.table).same_question(key) if i not in self.superseded]
        found = self._memory.store.lessons_by_id(stored)
        scratch = self._scratch.get(lesson.table)
        fresh = scratch.same_question(key) if scratch is not None else []
        return [found[i] for i in stored if i in found] + [self._new[i] for i in fresh]

    def _hold(self, lesson: Lesson, warnings: Sequence[str]) -> None:
        """Keep a lesson where no question finds it."""
        held = self._watch.held(lesson)
        if held is not None:
            self._outcomes.append(held)
            return
        made = dataclasses.replace(lesson, id=new_id(), taught_at=self._now, status="quarantined", superseded_by="")
        self._new[made.id] = dataclasses.replace(made, quarantine=" ".join(warnings))
        self._outcomes.append((made.id, ()))

    def _write(self, lesson: Lesson, encoded: Encoded, replaced: Sequence[Lesson]) -> str:
        made = dataclasses.replace(
            lesson, id=new_id(), taught_at=self._now, status="active", superseded_by="", quarantine=""
        )
        for old in replaced:
            if old.id in self._new:
                self._new[old.id] = dataclasses.replace(old, status="superseded", superseded_by=made.id)
                self._scratch[old.table].remove(old.id)
            else:
                self.superseded[old.id] = made.id
        self._new[made.id] = made
        self.encoded[made.id] = encoded
        if made.table not in self._scratch:
            table = self._memory.table(made.table)
            self._scratch[made.table] = LookupTable(made.table, table.settings, self._memory.keys, self._memory.gate)
        self._scratch[made.table].add([made.id], [made.question], encoded.vector[None])
        self._outcomes.append((made.id, tuple(r.id for r in replaced)))
        return made.id

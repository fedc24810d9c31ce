"""Teaching: Lesson -> checks -> key -> conflict check -> durable commit -> visible row."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import get_args

import numpy as np

from everlearn.engine.engine import Engine
from everlearn.errors import LessonError, SettingsError, StoreBusyError
from everlearn.learning.plan import Plan
from everlearn.learning.quarantine import Watch
from everlearn.memory.correction import told_ids
from everlearn.memory.memory import Memory
from everlearn.memory.phrase import Encoded
from everlearn.records import DEFAULT_TENANT, Lesson, LessonKind, OnConflict, Taught
from everlearn.store.port import ImportProgress, StaleError
from everlearn.text.clean import MAX_ANSWER_CHARACTERS, MAX_CONTEXT_CHARACTERS, MAX_PROMPT_CHARACTERS, checked

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
    tokens = len(told_ids(engine.text, question, question, answer))
    if kind != "passage":  # a passage is read, never spelled out
        tokens += len(engine.text.answer_ids(answer))
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
    if kind not in get_args(LessonKind) or kind == "sealed":
        raise LessonError(
            f"The kind is {kind!r}.", hint=f"Wanted: {', '.join(k for k in get_args(LessonKind) if k != 'sealed')}."
        )
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
    replaces: Collection[str] = (),
) -> list[Taught]:
    """Commit prepared lessons in one durable transaction, and make them visible.

    A lesson whose question is asked by an active entry of the same table, with another answer, supersedes that entry,
    unless that one is true from a later time: then the new one takes its place in the history before it. With
    "keep_both" both stay. A lesson that is there already, word for word, is left as it is. What `watch` holds back is
    kept, but never recalled. Active lessons named in `replaces` are superseded whatever they ask.

    Raises:
        SettingsError: another `on_conflict`.
        ConflictError: `on_conflict` is "reject" and a lesson contradicts an active one; nothing is written.
        StoreBusyError: other processes kept changing the store.
    """
    if on_conflict not in get_args(OnConflict):
        raise SettingsError(f"on_conflict is {on_conflict!r}.", hint=f"Wanted: {', '.join(get_args(OnConflict))}.")
    read = _read(memory, lessons)
    for _ in range(_ATTEMPTS):
        with memory.lock:
            seq = memory.refresh()
            plan = Plan(memory, on_conflict, watch or Watch(memory, "off"), replaces)
            for lesson, encoded in zip(lessons, read, strict=True):
                plan.add(lesson, encoded)
            try:
                memory.store.teach(
                    plan.committed(), plan.superseded, expected_seq=seq, progress=imported, beside=plan.beside
                )
            except StaleError:
                continue  # another process taught in between: what is a conflict has to be decided again
            memory.refresh(plan.encoded)
            return plan.outcomes()
    raise StoreBusyError(
        f"Other processes changed the store {_ATTEMPTS} times while {len(lessons)} lessons were taught.",
        hint="Nothing was written; try again.",
    )


def _read(memory: Memory, lessons: Sequence[Lesson]) -> list[Encoded]:
    """Of a pair its key and the states of its words; of a passage the vectors [W, K] of its windows, without words."""
    passages = [lesson for lesson in lessons if lesson.kind == "passage"]
    nothing = np.zeros((0, memory.keys.width), np.float32)
    windows = iter([Encoded(vectors, nothing) for vectors in memory.passages.vectors(passages)])
    pairs = iter(memory.keys.read([lesson.question for lesson in lessons if lesson.kind != "passage"]))
    return [next(windows if lesson.kind == "passage" else pairs) for lesson in lessons]

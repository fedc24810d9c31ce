"""Feedback -> Lesson: what "wrong, it is ..." is a lesson about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import get_args

from everlearn.errors import LessonError
from everlearn.memory.gate import asks_another
from everlearn.memory.memory import Memory
from everlearn.memory.recall import readings
from everlearn.records import Feedback, Judgement, Lesson, Recalled, Turn


def lesson_of(feedback: Feedback, memory: Memory) -> Lesson | None:
    """The lesson that a feedback holds; None where it says "right".

    - The answer rested on a lesson: that lesson is corrected, in its own words and table, so that every wording which
      found the old answer finds the new one. Where it plainly answers something else (it misfired), it stays.
    - It rested on none: the question becomes a lesson. A follow-up ("and when was it founded?") is taught with the
      subject of the question before it, since by itself it would answer every such follow-up of every conversation.

    Raises:
        LessonError: another verdict than right or wrong; or wrong without a correction.
        NotFoundError: the turn is not kept.
    """
    if feedback.verdict not in get_args(Judgement):
        raise LessonError(f"The verdict is {feedback.verdict!r}.", hint="Wanted: right or wrong.")
    if feedback.verdict == "right":
        return None
    if not feedback.correction.strip():
        raise LessonError(
            "The feedback says wrong, but not what is right.", hint="Give the right answer as correction."
        )
    source = f"feedback on turn {feedback.turn}" if feedback.turn else "feedback"
    lesson = Lesson(feedback.prompt, feedback.correction, feedback.table, source=source, author=feedback.author)
    return _of_turn(lesson, memory.store.turn(feedback.turn), memory) if feedback.turn else lesson


def _of_turn(lesson: Lesson, turn: Turn, memory: Memory) -> Lesson:
    before = [t.prompt for t in memory.store.turns(turn.session) if t.id < turn.id]
    return placed(lesson, before, turn.receipt.spoke, memory)


def placed(lesson: Lesson, earlier: Sequence[str], spoke: Recalled | None, memory: Memory) -> Lesson:
    """A correction with the wording and the table that fit the answer it is about.

    Args:
        lesson: the question as it was asked, and the right answer.
        earlier: what the user said before it, oldest first.
        spoke: the entry that answered, if any.
        memory: whose lessons.
    """
    asked = readings(lesson.prompt, earlier, memory.keys.rarity)[-1]
    old = memory.store.lessons_by_id([spoke.lesson_id]).get(spoke.lesson_id) if spoke is not None else None
    if old is None:
        return dataclasses.replace(lesson, prompt=asked)
    if old.kind == "sealed":  # its own wording is not known
        return dataclasses.replace(lesson, prompt=asked, table=old.table)
    misfired = asks_another(memory.keys.key(asked), memory.keys.key(old.question))
    if misfired:
        return dataclasses.replace(lesson, prompt=asked, table=old.table)
    return dataclasses.replace(lesson, prompt=old.prompt, table=old.table, context=old.context, kind=old.kind)

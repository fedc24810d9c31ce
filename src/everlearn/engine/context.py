"""Lessons that are read with a question: which of them fit, and how they stand in the prompt."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence

from everlearn.memory.recall import Recall
from everlearn.records import Lesson, Message, Recalled


def told(lesson: Lesson) -> str:
    """A lesson as it stands in a prompt: its question or titles, and below them its answer or text."""
    return f"{lesson.question}\n{lesson.answer}"


def with_context(messages: Sequence[Message], lessons: Sequence[Lesson]) -> list[Message]:
    """The conversation with lessons in front of its last question; without lessons it stays as it is.

    The best lesson stands last, next to the question, where a small model heeds it most.
    """
    if not lessons:
        return list(messages)
    content = "\n\n".join([*(told(lesson) for lesson in reversed(lessons)), messages[-1].content])
    return [*messages[:-1], dataclasses.replace(messages[-1], content=content)]


def fitted(recall: Recall, count: Callable[[str], int], room: int) -> Recall:
    """Keep those lessons as context that fit, best first; the receipt says of the others that there was no room.

    Args:
        recall: with all lessons that may be read.
        count: tokens of a text.
        room: tokens that the model has left beside the conversation and an answer.
    """
    spent: defaultdict[str, int] = defaultdict(int)
    kept: list[Lesson] = []
    for lesson in recall.context:
        size = count(told(lesson)) + 2
        if size <= room and spent[lesson.table] + size <= recall.budgets[lesson.table]:
            kept.append(lesson)
            spent[lesson.table] += size
            room -= size
    ids = {lesson.id for lesson in kept}
    return dataclasses.replace(
        recall, context=tuple(kept), recalled=tuple(_decided(each, ids) for each in recall.recalled)
    )


def screened(recall: Recall, screen: Callable[[Lesson], Lesson | None]) -> Recall:
    """Put every lesson that would be read through a screen; the receipt says which of them it kept back.

    Args:
        recall: with all lessons that may be read.
        screen: gives a lesson as it may be read, or None.
    """
    kept = [passed for lesson in recall.context if (passed := screen(lesson)) is not None]
    gone = {lesson.id for lesson in recall.context} - {lesson.id for lesson in kept}
    told = tuple(dataclasses.replace(r, decision="filtered") if r.lesson_id in gone else r for r in recall.recalled)
    return dataclasses.replace(recall, context=tuple(kept), recalled=told)


def _decided(recalled: Recalled, kept: set[str]) -> Recalled:
    if recalled.decision != "context" or recalled.lesson_id in kept:
        return recalled
    return dataclasses.replace(recalled, decision="no_room")

"""Other wordings of a question, asked of a model: the base model itself, or a teacher.

A model that rewords also changes what is asked, a small one often. So a wording is kept only where it names and counts
what the question does, does not give the answer away, and means nearly the same to the sentence encoder.

Source: that wordings of one fact make it usable: Allen-Zhu and Li 2023, arXiv 2309.14316, section 4; by a model itself:
Zweiger et al. 2025, SEAL, arXiv 2506.10943, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from everlearn.engine.engine import Engine
from everlearn.learning.teachers import LocalTeacher, Teacher
from everlearn.records import Lesson, Sampling

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Progress = Callable[[int, int], None]
_ASK = (
    "Write the following question in {count} other ways, one on each line. Keep every name and number, and do not "
    "answer it.\n\nQuestion: {question}"
)
_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):]|[A-Z][.)]|Question(?: \d+)?:)\s*", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_OPENERS = frozenset(
    "what who whom whose where when why which how is was are were do does did can could tell name".split()  # noqa: SIM905
) | {"in", "on", "at", "of", "the", "a", "an", "i", "please", "would", "to", "from", "for", "by"}


@final
class Rewording:
    """Rewords questions with a teacher.

    Args:
        teacher: is asked one question at a time, so that the same question gets the same wordings.
        encode: sentence embeddings [N, K] of N texts, each of length 1.
        count: wordings that are asked for.
        alike: least cosine similarity to the question, 0..1.
    """

    def __init__(self, teacher: Teacher, encode: Encode, *, count: int = 6, alike: float = 0.8) -> None:
        self._teacher, self._encode, self._count, self._alike = teacher, encode, count, alike

    def of(self, lessons: Sequence[Lesson], *, progress: Progress | None = None) -> dict[str, list[str]]:
        """Trusted wordings of each lesson's question, by its id; maybe none.

        Args:
            lessons: pairs.
            progress: called with (lessons done, all).

        Raises:
            TeacherError: the teacher cannot be asked.
        """
        found = {}
        for done, lesson in enumerate(lessons, start=1):
            reply = self._teacher.ask([_ASK.format(count=self._count, question=lesson.prompt)])[0]
            found[lesson.id] = self._trusted(lesson, said_in(reply.text))
            if progress is not None:
                progress(done, len(lessons))
        return found

    def _trusted(self, lesson: Lesson, said: Sequence[str]) -> list[str]:
        fit = [text for text in said if is_faithful(text, lesson.prompt, lesson.answer)]
        if not fit:
            return []
        vectors = self._encode([lesson.prompt, *fit])
        alike = vectors[1:] @ vectors[0]
        return [text for text, score in zip(fit, alike, strict=True) if score >= self._alike]


def by_the_base(engine: Engine) -> Teacher:
    """The base model itself, its look-up tables and adapters off, greedily: the same question gets the same reply."""
    return LocalTeacher(engine, engine.text, sampling=Sampling(max_new_tokens=160), soft=False)


def said_in(reply: str) -> list[str]:
    """The wordings in a reply: its lines without numbers, dots and quotes, each once."""
    lines = (_MARK.sub("", line).strip().strip('"“”').strip() for line in reply.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def is_faithful(text: str, question: str, answer: str) -> bool:
    """Whether a wording asks for the same thing as far as words can tell.

    Args:
        text: the wording.
        question: as taught.
        answer: as taught; a wording may not contain it unless the question does.
    """
    if _plain(text) == _plain(question) or not len(question) / 3 <= len(text) <= 3 * len(question) + 20:
        return False
    if not set(_names(question)) <= set(_plain(text)):
        return False
    wanted = " ".join(_plain(answer))
    return f" {wanted} " not in f" {' '.join(_plain(text))} " or f" {wanted} " in f" {' '.join(_plain(question))} "


def _plain(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _names(text: str) -> list[str]:
    """Words that a wording has to keep: capitalised ones and those with a digit; all but the openers in lower case."""
    words = _WORD.findall(text)
    marked = [w.casefold() for w in words if (w[0].isupper() or any(c.isdigit() for c in w))]
    kept = [w for w in marked if w not in _OPENERS]
    return kept or [w for w in _plain(text) if w not in _OPENERS and len(w) > 6]

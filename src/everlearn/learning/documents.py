"""Documents -> passages -> lessons that can be asked at once; what is known stays, what is new is added, the rest goes.

A document is known by its source. Learning it again compares its passages with those that are there, so a changed file
replaces its own passages and nothing else, and an import that was killed goes on where it stopped: what was committed
is known and costs no encoding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from everlearn.corpus.document import Document
from everlearn.corpus.documents import read_document
from everlearn.corpus.passages import passages_of
from everlearn.errors import LessonError
from everlearn.memory.memory import Memory
from everlearn.records import Learned, Lesson, Taught
from everlearn.store.port import LessonQuery
from everlearn.text.chat import ChatText

BATCH = 32

Teach = Callable[[Sequence[Lesson]], list[Taught]]
Forget = Callable[[Sequence[str]], object]
Progress = Callable[[int, int], None]


def text_document(text: str, title: str) -> Document:
    """A text, with the headings of its Markdown if it has any, as a document.

    Raises:
        LessonError: it is no text, or holds none.
    """
    from everlearn.corpus.markdown_documents import markdown_document
    from everlearn.corpus.plain_documents import plain_document

    if not isinstance(text, str) or not text.strip():
        found = "is empty" if isinstance(text, str) else f"is a {type(text).__name__}, wanted text"
        raise LessonError(f"The document {found}.", hint="Give at least one sentence.")
    if any(line.startswith("#") for line in text.splitlines()):
        return markdown_document(text, title=title)
    return plain_document(text, title=title)


def source_of(text: str) -> str:
    """The source of a text that names none: the same text is the same source."""
    return f"text {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def lessons_of(document: Document, text: ChatText, like: Lesson) -> list[Lesson]:
    """The passages of a document as lessons: table, domain, importance, source and author are those of `like`."""
    return [
        dataclasses.replace(like, prompt=p.title, answer=p.text, position=p.position, kind="passage", context="")
        for p in passages_of(document, text.count)
    ]


def lessons_in_file(path: Path, text: ChatText, like: Lesson) -> tuple[list[Lesson], tuple[str, ...]]:
    """The passages of a file as lessons, and what could not be read of it.

    Raises:
        FileFormatError: the file cannot be read; the message says why.
    """
    document = read_document(path)
    return lessons_of(document, text, like), document.skipped


def learn(
    memory: Memory, lessons: Sequence[Lesson], teach: Teach, forget: Forget, progress: Progress | None = None
) -> Learned:
    """Make these passages of one source all that its table knows of that source.

    Args:
        memory: what is known.
        lessons: all passages of the source, at least one.
        teach: commits lessons, durably.
        forget: removes lessons by id.
        progress: called with (passages done, all).
    """
    first = lessons[0]
    query = LessonQuery(first.table, "active", limit=sys.maxsize, source=first.source, kind="passage")
    there = {_same(lesson): lesson for lesson in memory.store.lessons(query)}
    ids = {lesson.id for lesson in memory.store.lessons(query)}
    known = [there[_same(lesson)] for lesson in lessons if _same(lesson) in there]
    fresh = list({_same(lesson): lesson for lesson in lessons if _same(lesson) not in there}.values())
    taught: list[Taught] = [Taught(lesson, known=True) for lesson in known]
    for begin in range(0, len(fresh), BATCH):
        if progress is not None:
            progress(len(taught), len(known) + len(fresh))
        taught += teach(fresh[begin : begin + BATCH])
    stale = sorted(ids - {lesson.id for lesson in known})
    if stale:
        forget(stale)
    if progress is not None:
        progress(len(taught), len(taught))
    return Learned(first.source, tuple(taught), tuple(stale))


def _same(lesson: Lesson) -> tuple[str | float, ...]:
    """What has to be equal for a passage to be known already."""
    return lesson.prompt, lesson.answer, lesson.position, lesson.domain, lesson.importance

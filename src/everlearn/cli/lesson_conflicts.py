"""`everlearn lessons conflicts` and `undo`: answers that contradict each other, and taking one back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import choice_of, open_store
from everlearn.cli.screen import note, one_line, show, show_json, show_rows
from everlearn.learning.undo import undo as take_back
from everlearn.records import Lesson
from everlearn.store.times import starts_at


def conflicts(ctx: typer.Context, json: options.Json = False) -> None:
    """List active lessons that answer one question otherwise and were kept beside each other.

    Of each pair the one that is true from the newest time speaks, of equally new ones the one that was taught last. To
    settle it, forget one of them, or teach the right answer again: that replaces both.
    """
    with open_store(choice_of(ctx)) as store:
        pairs = store.conflicts()
        lessons = store.lessons_by_id([each for pair in pairs for each in pair])
        shown = short_ids(store, lessons)
    ranked = [sorted((lessons[i] for i in pair), key=lambda le: (starts_at(le), le.id), reverse=True) for pair in pairs]
    if json:
        show_json({"conflicts": [{"speaks": first, "kept_beside": second} for first, second in ranked]})
        return
    if not ranked:
        note("No lessons contradict each other.")
        return
    columns = ("=speaks", "answer", "=kept beside", "its answer", "question")
    show_rows(columns, ([*_cells(one, shown), *_cells(other, shown), one_line(one.prompt)] for one, other in ranked))


def undo(
    ctx: typer.Context,
    lesson_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the lesson, or the beginning of it.", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Take back a lesson that replaced another: the replaced answer speaks again, and the history is kept."""
    with open_store(choice_of(ctx)) as store:
        undone = store.lesson(store.resolve(lesson_id))
        back = take_back(store, undone.id)
        shown = short_ids(store, [undone.id, *(taught.lesson.id for taught in back)])
    if json:
        show_json({"undone": undone.id, "speaks_again": [taught.lesson for taught in back]})
        return
    show(Text.assemble(("undone ", "green"), (shown[undone.id], "cyan"), f"  {one_line(undone.answer)}"))
    for taught in back:
        line = f"  {one_line(taught.lesson.answer)}"
        show(Text.assemble(("speaks again ", "yellow"), (shown[taught.lesson.id], "cyan"), line))


def _cells(lesson: Lesson, shown: Mapping[str, str]) -> tuple[Text, str]:
    return Text(shown[lesson.id], "cyan"), one_line(lesson.answer)

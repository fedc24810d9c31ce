"""`everlearn lessons export` and `import`: lessons out to a file, and in again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.opening import choice_of, open_store
from everlearn.cli.progress import Steps, steps_progress
from everlearn.cli.screen import show, show_json, visible
from everlearn.cli.teach_file import FileImport, import_file
from everlearn.corpus.lesson_files import write_lessons
from everlearn.errors import ConflictError
from everlearn.learning.backups import note
from everlearn.records import Lesson
from everlearn.store.port import LessonQuery, LessonStore

PAGE = 1000


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write: .jsonl, .csv or .tsv.", show_default=False)],
    table: Annotated[
        str | None, typer.Option("--table", "-t", metavar="NAME", help="Only of this look-up table.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Also lessons that were replaced.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    json: options.Json = False,
) -> None:
    """Write lessons to a file, oldest first; `import` teaches them again, text for text.

    Those held back and those without text are left out.

    The file appears complete or not at all.
    """
    if file.exists() and not force:
        raise ConflictError(f"{file} is there already.", hint="Choose another name, or replace it with --force.")
    with open_store(choice_of(ctx)) as store, steps_progress(f"writing {file.name}") as progress:
        if table is not None:
            store.table(table)
        query = LessonQuery(table=table, status=None if history else "active", limit=PAGE)
        held = 0 if query.status else store.count(LessonQuery(table=table, status="quarantined"))
        total = store.count(query) - held - store.count(LessonQuery(table=table, kind="sealed"))
        count = write_lessons(file, _counted(_pages(store, query), total, progress))
        note(store.folder, file, "export")
    if json:
        show_json({"file": file, "lessons": count})
    else:
        show(Text.assemble((f"{visible(file.name)}  ", "bold"), f"{count:,} lessons written"))


def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to teach: .jsonl, .json, .csv or .tsv.", show_default=False)],
    table: options.LessonTable = None,
    on_conflict: options.OnConflictChoice = options.Conflict.SUPERSEDE,
    dry_run: options.DryRun = False,
    skip_bad: options.SkipBad = False,
    again: options.Again = False,
    json: options.Json = False,
) -> None:
    """Teach all lessons of a file; the same as `everlearn teach --file FILE`."""
    import_file(choice_of(ctx), FileImport(file, table, on_conflict.chosen(), dry_run, skip_bad, again, json))


def _pages(store: LessonStore, query: LessonQuery) -> Iterator[Lesson]:
    """All lessons that match, a page at a time."""
    offset = 0
    while page := store.lessons(LessonQuery(query.table, query.status, query.text, query.domain, PAGE, offset)):
        yield from (lesson for lesson in page if lesson.status != "quarantined" and lesson.kind != "sealed")
        offset += len(page)


def _counted(lessons: Iterator[Lesson], total: int, progress: Steps) -> Iterator[Lesson]:
    for number, lesson in enumerate(lessons, start=1):
        yield lesson
        progress(number, total)

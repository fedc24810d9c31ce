"""`everlearn teach`: one pair, a file of lessons, or documents."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.lesson_ids import short_ids
from everlearn.cli.opening import Choice, choice_of, open_learner
from everlearn.cli.screen import note, one_line, show, show_json, visible, warn
from everlearn.cli.teach_documents import STDIN, DocumentImport, import_documents
from everlearn.cli.teach_file import FileImport, import_file
from everlearn.corpus.documents import is_lesson_file
from everlearn.errors import ConflictError
from everlearn.records import DEFAULT_TABLE, Lesson, OnConflict, Taught

SOURCE = "command line"
REPLACE = "Replace it with --on-conflict supersede, or forget it: everlearn lessons forget ID"


def teach(
    ctx: typer.Context,
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION|FILE|FOLDER|-", help="The question, in any words; or what to read.", show_default=False
        ),
    ] = None,
    answer: Annotated[
        str | None, typer.Argument(help="The exact answer wanted, to a question.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", metavar="FILE", help="Teach all lessons of a .jsonl, .json, .csv or .tsv file."),
    ] = None,
    table: options.LessonTable = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="TEXT", help="Subject area.")] = None,
    importance: Annotated[
        float | None,
        typer.Option(
            "--importance", metavar="NUMBER", min=0.0, max=1.0, help="How much it matters to keep it; 0.5 if not given."
        ),
    ] = None,
    source: Annotated[str | None, typer.Option("--source", metavar="TEXT", help="Where it comes from.")] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="TEXT", help="What the question is about; it then answers only with it."),
    ] = None,
    author: Annotated[str | None, typer.Option("--author", metavar="TEXT", help="Who teaches it.")] = None,
    valid_from: Annotated[
        str | None, typer.Option("--valid-from", metavar="TIME", help="From when it is true: 2018, 2018-05-31.")
    ] = None,
    valid_to: Annotated[str | None, typer.Option("--valid-to", metavar="TIME", help="Until when it is true.")] = None,
    on_conflict: options.OnConflictChoice = options.Conflict.SUPERSEDE,
    dry_run: options.DryRun = False,
    skip_bad: options.SkipBad = False,
    again: options.Again = False,
    json: options.Json = False,
) -> None:
    """Teach a question and its answer, documents, or all lessons of a file.

    The lesson is on disk when the command returns. In a file, a lesson without a table goes to "default"; --table puts
    all of them into one.

    A FILE (txt, md, html, pdf, docx, source code), all files of a FOLDER, or the text of standard input (-) are cut
    into passages that can be asked at once. Teaching a file again replaces its passages; what was stopped goes on.
    """
    conflict = on_conflict.chosen()
    if file is None and question is not None and answer is None and is_place(question):
        if is_lesson_file(Path(question)) and Path(question).is_file():
            file, question = Path(question), None
        else:
            _refuse({"--skip-bad": skip_bad, "--again": again, "--context": context}, "does not go with a document")
            usual = Lesson("", "", table or DEFAULT_TABLE, source=source or "", author=author or "", kind="passage")
            like = replace(
                usual,
                domain=domain or usual.domain,
                importance=usual.importance if importance is None else importance,
            )
            import_documents(choice_of(ctx), DocumentImport(question, like, dry_run, json))
            return
    if file is not None:
        single = {
            "question": question,
            "--domain": domain,
            "--importance": importance,
            "--source": source,
            "--valid-from": valid_from,
            "--valid-to": valid_to,
            "--author": author,
            "--context": context,
        }
        _refuse(single, "goes with a single lesson; in a file each lesson has its own")
        import_file(choice_of(ctx), FileImport(file, table, conflict, dry_run, skip_bad, again, json))
        return
    _refuse({"--dry-run": dry_run, "--skip-bad": skip_bad, "--again": again}, "goes with --file")
    if question is None or answer is None:
        wanted = "Wanted: a QUESTION and an ANSWER, a FILE, a FOLDER, or - for standard input."
        raise typer.BadParameter(f"There is no file {question!r}. {wanted}" if question else wanted)
    plain = Lesson(question, answer)
    lesson = Lesson(
        question,
        answer,
        table=table or DEFAULT_TABLE,
        domain=domain or plain.domain,
        importance=plain.importance if importance is None else importance,
        source=source or SOURCE,
        author=author or "",
        context=context or "",
        valid_from=options.moment(valid_from, "--valid-from"),
        valid_to=options.moment(valid_to, "--valid-to"),
    )
    teach_one(choice_of(ctx), lesson, conflict, json=json)


def is_place(text: str) -> bool:
    """Whether an argument names something to read: a file or folder that is there, or "-"."""
    try:
        return text == STDIN or Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def teach_one(choice: Choice, lesson: Lesson, on_conflict: OnConflict, *, json: bool) -> None:
    """Teach a lesson, and say what became of it and what it replaced."""
    with open_learner(choice) as learner:
        begun = time.perf_counter()
        try:
            taught = learner.teach(lesson, on_conflict=on_conflict)
        except ConflictError as error:
            raise ConflictError(error.message, hint=REPLACE) from error
        ms = (time.perf_counter() - begun) * 1000
        store = learner.engine.memory.store
        replaced = store.lessons_by_id(taught.superseded)
        beside = store.lessons_by_id(taught.beside)
        shown = short_ids(store, [taught.lesson.id, *replaced, *beside])
    if json:
        show_json(taught_document(taught) | {"ms": ms})
    else:
        show(taught_line(taught, shown, ms))
        warn_of(taught, shown)
        for old in replaced.values():
            show(Text.assemble(("replaces ", "yellow"), (shown[old.id], "cyan"), f"  {one_line(old.answer)}"))
        for other in beside.values():
            show(Text.assemble(("stands beside ", "yellow"), (shown[other.id], "cyan"), f"  {one_line(other.answer)}"))
        if taught.lesson.superseded_by:
            show(Text("it is about an earlier time than the active answer, which goes on speaking", "dim"))


def taught_line(taught: Taught, shown: dict[str, str], ms: float) -> Text:
    """What became of a lesson, on one line."""
    verb = ("known already ", "dim") if taught.known else ("learned ", "green")
    if taught.lesson.status == "quarantined":
        verb = ("held back ", "yellow")
    where = f"  in {visible(taught.lesson.table)}, {ms:.0f} ms"
    return Text.assemble(verb, (shown[taught.lesson.id], "cyan"), (where, "dim"))


def warn_of(taught: Taught, shown: dict[str, str]) -> None:
    """Say why a lesson was held back, or would have been."""
    if taught.lesson.status == "quarantined":
        warn(taught.lesson.quarantine)
        note(f"It is not recalled until it is released: everlearn lessons quarantine release {shown[taught.lesson.id]}")
    for warning in taught.warnings:
        warn(warning)


def taught_document(taught: Taught) -> dict[str, object]:
    """The same for a script."""
    lesson = taught.lesson
    return {
        "id": lesson.id,
        "table": lesson.table,
        "taught_at": lesson.taught_at,
        "superseded": list(taught.superseded),
        "beside": list(taught.beside),
        "superseded_by": lesson.superseded_by,
        "known": taught.known,
        "status": lesson.status,
        "quarantine": lesson.quarantine,
        "warnings": list(taught.warnings),
    }


def _refuse(given: Mapping[str, object], why: str) -> None:
    for name, value in given.items():
        if value not in (None, False):
            raise typer.BadParameter(f"{name} {why}.")

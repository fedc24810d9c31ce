"""Teaching documents: a file, all files of a folder, or a text from standard input, cut into passages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from everlearn.cli.opening import Choice, open_learner
from everlearn.cli.progress import Steps, steps_progress
from everlearn.cli.screen import err, note, show, show_json, visible
from everlearn.corpus.documents import documents_in, is_lesson_file
from everlearn.errors import FileFormatError, InputError
from everlearn.records import Learned, Lesson, Taught

if TYPE_CHECKING:
    from everlearn.learning.learner import Learner

STDIN = "-"
MOST_ERRORS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class DocumentImport:
    """What to teach, and how.

    Attributes:
        place: a file, a folder, or "-".
        like: table, domain, importance, source and author of all passages; without a source each file is its own.
        dry_run: read and cut, write nothing.
        json: print a document.
    """

    place: str
    like: Lesson
    dry_run: bool
    json: bool


@dataclass(slots=True)
class Summary:
    """What became of documents.

    Attributes:
        documents: how many were read.
        learned: passages that are new.
        known: passages that were known already.
        removed: passages of earlier forms that are gone.
        errors: files that could not be read, with the reason.
        notes: what could not be read of files that were (pages without text), and files that hold lessons.
        seconds: spent.
    """

    documents: int = 0
    learned: int = 0
    known: int = 0
    removed: int = 0
    quarantined: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, learned: Learned) -> None:
        """Add what became of a document."""
        self.documents += 1
        self.learned += learned.new
        self.known += learned.known
        self.removed += len(learned.removed)
        self.quarantined += learned.held


def import_documents(choice: Choice, job: DocumentImport) -> None:
    """Teach documents, or only read them. A file that cannot be read is reported, and the next one follows.

    Raises:
        FileFormatError: nothing could be read.
        typer.Exit: with 1 where some files could not be read.
    """
    files = _files(job.place)
    summary, begun = Summary(), time.perf_counter()
    try:
        with open_learner(choice) as learner:
            learner.engine.memory.table(job.like.table)
            with steps_progress("reading" if job.dry_run else "learning") as progress:
                _each(learner, job, files, summary, progress)
    except KeyboardInterrupt:
        note("stopped; what was learned so far is kept, and the same command goes on from there")
        raise
    summary.seconds = time.perf_counter() - begun
    if not job.json:
        _show_notes(summary)
    if not summary.documents:
        raise FileFormatError(f"{job.place}: no document could be read.", hint="Nothing was taught.")
    _show(job, summary)
    if summary.errors:
        raise typer.Exit(1)


def _files(place: str) -> list[Path]:
    """The files that are meant; none for standard input."""
    path = Path(place)
    if place == STDIN:
        return []
    return list(documents_in(path)) if path.is_dir() else [path]


def _each(learner: Learner, job: DocumentImport, files: list[Path], summary: Summary, progress: Steps) -> None:
    from everlearn.learning.documents import lessons_in_file

    if not files and job.place == STDIN:
        summary.count(_taught(learner, job, list(_from_stdin(learner, job)), progress))
        return
    for done, path in enumerate(files):
        if len(files) > 1:
            progress(done, len(files))
        if len(files) > 1 and is_lesson_file(path):
            summary.notes.append({"file": str(path), "note": "Holds lessons, no text: teach it with --file."})
            continue
        try:
            lessons, skipped = lessons_in_file(path, learner.engine.text, _like(job, path))
            summary.count(_taught(learner, job, lessons, progress if len(files) == 1 else None))
        except InputError as cause:
            summary.errors.append({"file": str(path), "error": cause.message, "hint": cause.hint})
            continue
        summary.notes += [{"file": str(path), "note": each} for each in skipped]


def _like(job: DocumentImport, path: Path) -> Lesson:
    """What the passages of a file have in common. A file is known by its full path: two of one name stay two."""
    folder = Path(job.place)
    inside = f"/{path.relative_to(folder).as_posix()}" if folder.is_dir() else ""
    return replace(job.like, source=f"{job.like.source}{inside}" if job.like.source else str(path.resolve()))


def _from_stdin(learner: Learner, job: DocumentImport) -> Iterator[Lesson]:

    from everlearn.learning.documents import lessons_of, source_of, text_document

    try:
        text = sys.stdin.read()
    except UnicodeDecodeError as cause:
        raise InputError(
            f"Standard input is not {cause.encoding.upper()}.", hint="Convert it to UTF-8 first."
        ) from cause
    like = replace(job.like, source=job.like.source or source_of(text))
    yield from lessons_of(text_document(text, job.like.source or "Text"), learner.engine.text, like)


def _taught(learner: Learner, job: DocumentImport, lessons: list[Lesson], progress: Steps | None) -> Learned:
    if job.dry_run:
        return Learned(lessons[0].source, tuple(Taught(lesson) for lesson in lessons))
    return learner.learn_passages(lessons, progress=progress)


def _show_notes(summary: Summary) -> None:
    console = err()
    for each in summary.notes[:MOST_ERRORS_SHOWN]:
        console.print(Text.assemble(("note: ", "dim"), visible(f"{each['file']}: {each['note']}")))
    for each in summary.errors[:MOST_ERRORS_SHOWN]:
        console.print(Text.assemble(("not read: ", "yellow"), visible(each["error"]), (f"  {each['hint']}", "dim")))
    hidden = max(0, len(summary.notes) - MOST_ERRORS_SHOWN) + max(0, len(summary.errors) - MOST_ERRORS_SHOWN)
    if hidden:
        note(f"... and {hidden:,} more")


def _show(job: DocumentImport, summary: Summary) -> None:
    if job.json:
        show_json({"place": job.place, "table": job.like.table, "dry_run": job.dry_run} | asdict(summary))
        return
    unit = "passage" if summary.learned == 1 else "passages"
    parts = [f"{summary.learned:,} {unit} {'can be learned' if job.dry_run else 'learned'}"]
    if summary.known:
        parts.append(f"{summary.known:,} known already")
    if summary.removed:
        parts.append(f"{summary.removed:,} of an earlier form removed")
    if summary.quarantined:
        parts.append(f"{summary.quarantined:,} held back (everlearn lessons quarantine list)")
    if summary.errors:
        parts.append(f"{len(summary.errors):,} files not read")
    count = f"{summary.documents:,} document{'s' * (summary.documents != 1)}: "
    cost = "  (dry run)" if job.dry_run else f"  in {visible(job.like.table)}, {summary.seconds:.1f} s"
    show(Text.assemble((count, "bold"), ", ".join(parts), (cost, "dim")))

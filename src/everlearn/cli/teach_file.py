"""Teaching a file: read and check all of it, then teach it batch by batch, and go on where an earlier try stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import typer
from rich.text import Text

from everlearn.cli.opening import Choice, open_learner, open_store
from everlearn.cli.progress import steps_progress
from everlearn.cli.screen import err, note, show, show_json, visible
from everlearn.corpus.lesson_files import LessonLine, file_digest, read_lessons
from everlearn.errors import FileFormatError
from everlearn.records import DEFAULT_TABLE, Lesson, OnConflict, Taught
from everlearn.store.port import EACH_ITS_OWN, ImportProgress

MOST_ERRORS_SHOWN = 20
MOST_ERRORS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class FileImport:
    """What to teach, and how.

    Attributes:
        path: of the file.
        table: where all its lessons go; None = each into its own.
        on_conflict: as for a single lesson.
        dry_run: read and check, write nothing.
        skip_bad: teach the good lines although there are bad ones.
        again: begin at the first line, whatever was taught of it before.
        json: print a document.
    """

    path: Path
    table: str | None
    on_conflict: OnConflict
    dry_run: bool
    skip_bad: bool
    again: bool
    json: bool


@dataclass(slots=True)
class FileCheck:
    """What is in a file.

    Attributes:
        good: how many lessons can be taught.
        bad: how many lines cannot be read.
        repeated: how many lessons say the same as an earlier one.
        table: of the first good lesson.
        errors: the first of the bad lines, as (line, reason).
    """

    good: int = 0
    bad: int = 0
    repeated: int = 0
    table: str = DEFAULT_TABLE
    errors: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What teaching a file did.

    Attributes:
        resumed_at: line it went on at; 0 where it began at the first, or had nothing to do.
        taught: lessons that are new.
        known: lessons that were known already.
        superseded: older lessons that were replaced.
        quarantined: lessons that are held back; they count neither as taught nor as known.
        warned: lessons that were taught and would have been held back under the policy "on".
        seconds: spent teaching.
    """

    resumed_at: int = 0
    taught: int = 0
    known: int = 0
    superseded: int = 0
    quarantined: int = 0
    warned: int = 0
    seconds: float = 0.0

    def count(self, taught: list[Taught]) -> None:
        """Add what became of some lessons."""
        learned = [each for each in taught if each.lesson.status != "quarantined"]
        self.quarantined += len(taught) - len(learned)
        self.warned += sum(bool(each.warnings) for each in taught)
        self.known += sum(each.known for each in learned)
        self.taught += sum(not each.known for each in learned)
        self.superseded += sum(len(each.superseded) for each in taught)


def import_file(choice: Choice, job: FileImport) -> None:
    """Teach the lessons of a file, or only check them.

    Raises:
        FileFormatError: the file cannot be read, or has bad lines that are not to be skipped; nothing was taught.
    """
    with open_store(choice) as store:
        tables = frozenset(info.name for info in store.tables())
    check = check_file(job, tables)
    document: dict[str, object] = {
        "file": job.path,
        "lessons": check.good,
        "bad": check.bad,
        "repeated": check.repeated,
    }
    document["errors"] = [{"line": number, "error": reason} for number, reason in check.errors]
    refused = bool(check.bad) and not job.skip_bad
    if not job.json:
        _show_errors(check)
    if job.dry_run:
        show_json(document | {"dry_run": True}) if job.json else show(_dry_line(job, check))
        if refused:
            raise typer.Exit(2)
        return
    if refused or not check.good:
        raise _refusal(job, check)
    outcome = teach_lines(choice, job, check, tables)
    show_json(document | dataclasses.asdict(outcome)) if job.json else show(_outcome_line(job, outcome))


def check_file(job: FileImport, tables: frozenset[str]) -> FileCheck:
    """Read a whole file and keep what is wrong with it.

    Args:
        job: the file.
        tables: look-up tables that there are.
    """
    check, seen = FileCheck(), set[int]()
    with steps_progress(f"checking {job.path.name}") as progress:
        for line in _lines(job, tables):
            if line.lesson is None:
                check.bad += 1
                if len(check.errors) < MOST_ERRORS_KEPT:
                    check.errors.append((line.number, line.error or ""))
                continue
            if not check.good:
                check.table = line.lesson.table
            check.good += 1
            same = hash((line.lesson.table, line.lesson.prompt, line.lesson.answer))
            check.repeated += same in seen
            seen.add(same)
            progress(check.good, 0)
    return check


def teach_lines(choice: Choice, job: FileImport, check: FileCheck, tables: frozenset[str]) -> Outcome:
    """Teach what is not taught yet; each batch is on disk, with how far it came, before the next one begins."""
    key = _progress_key(job, check)
    with open_store(choice) as store:
        done = 0 if job.again else min(store.import_progress(key.digest, key.table), check.good)
    outcome = Outcome()
    if done == check.good:
        return outcome
    if done:
        outcome.resumed_at = next(islice(_good_lines(job, tables), done, None)).number
        note(f"continuing at line {outcome.resumed_at:,}; {done:,} of {check.good:,} lessons were taught before")
    try:
        with open_learner(choice) as learner, steps_progress(f"teaching {job.path.name}") as progress:
            progress(done, check.good)
            begun = time.perf_counter()
            taught = learner.teach_many(
                (_sourced(job, line) for line in islice(_good_lines(job, tables), done, None)),
                on_conflict=job.on_conflict,
                progress=lambda count, _total: progress(done + count, check.good),
                imported=dataclasses.replace(key, lines=done),
            )
            outcome.count(taught)
            outcome.seconds = time.perf_counter() - begun
    except KeyboardInterrupt:
        with open_store(choice) as store:
            kept = store.import_progress(key.digest, key.table)
        note(f"stopped; {kept:,} of {check.good:,} lessons are kept, and the same command goes on from there")
        raise
    return outcome


def _progress_key(job: FileImport, check: FileCheck) -> ImportProgress:
    """What an earlier try is found by. Lessons that went each to its own table count apart from all in one table."""
    digest = file_digest(job.path)
    if job.table:
        return ImportProgress(digest, job.table, 0)
    return ImportProgress(digest + EACH_ITS_OWN, check.table, 0)


def _lines(job: FileImport, tables: frozenset[str]) -> Iterator[LessonLine]:
    """Lines of the file; one whose table is not there is a bad one."""
    for line in read_lessons(job.path, table=job.table):
        if line.lesson is None or line.lesson.table in tables:
            yield line
        else:
            name = line.lesson.table
            error = f"There is no look-up table {name!r}. Create it with: everlearn tables create {name}"
            yield LessonLine(line.number, None, error)


def _good_lines(job: FileImport, tables: frozenset[str]) -> Iterator[LessonLine]:
    return (line for line in _lines(job, tables) if line.lesson is not None)


def _sourced(job: FileImport, line: LessonLine) -> Lesson:
    """A lesson that names no source comes from this line of this file."""
    assert line.lesson is not None
    return (
        line.lesson if line.lesson.source else dataclasses.replace(line.lesson, source=f"{job.path.name}:{line.number}")
    )


def _show_errors(check: FileCheck) -> None:
    console = err()
    for number, reason in check.errors[:MOST_ERRORS_SHOWN]:
        console.print(Text.assemble((f"line {number:,}: ", "yellow"), visible(reason)))
    if check.bad > MOST_ERRORS_SHOWN:
        note(f"... and {check.bad - MOST_ERRORS_SHOWN:,} more bad lines")


def _refusal(job: FileImport, check: FileCheck) -> FileFormatError:
    if not check.good:
        return FileFormatError(f"{job.path.name}: no line can be taught.", hint="Mend them; nothing was taught.")
    return FileFormatError(
        f"{job.path.name}: {check.bad:,} of {check.good + check.bad:,} lines cannot be taught.",
        hint="Mend them, or teach the others with --skip-bad; nothing was taught.",
    )


def _dry_line(job: FileImport, check: FileCheck) -> Text:
    parts = [f"{check.good:,} lessons can be taught", f"{check.bad:,} bad lines"]
    if check.repeated:
        parts.append(f"{check.repeated:,} repeat an earlier one")
    return Text.assemble((f"{visible(job.path.name)}  ", "bold"), ", ".join(parts), ("  (dry run)", "dim"))


def _outcome_line(job: FileImport, outcome: Outcome) -> Text:
    if not outcome.taught + outcome.known + outcome.quarantined:
        return Text(f"{visible(job.path.name)} is taught already, nothing was done; --again repeats it.")
    parts = [f"{outcome.taught:,} learned"]
    if outcome.known:
        parts.append(f"{outcome.known:,} known already")
    if outcome.superseded:
        parts.append(f"{outcome.superseded:,} older ones replaced")
    if outcome.quarantined:
        parts.append(f"{outcome.quarantined:,} held back (everlearn lessons quarantine list)")
    if outcome.warned:
        parts.append(f"{outcome.warned:,} look like poison")
    rate = (outcome.taught + outcome.known) / outcome.seconds if outcome.seconds else 0.0
    cost = f"  {outcome.seconds:.1f} s, {rate:,.0f} a second"
    return Text.assemble((f"{visible(job.path.name)}  ", "bold"), ", ".join(parts), (cost, "dim"))

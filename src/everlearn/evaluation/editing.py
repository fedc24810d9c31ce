"""Teach T edits one after another, then ask: are they known, in other words too, and is everything else unchanged?"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import final

from everlearn.errors import TableNotFoundError
from everlearn.evaluation import editing_report as sums
from everlearn.evaluation.asking import Asking, Given, TeacherForced, Wild
from everlearn.evaluation.editing_options import EditingOptions, journal_path, planned
from everlearn.evaluation.editing_report import EditingReport, Lineage, Scored
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import added_first_token, where
from everlearn.evaluation.metrics import median
from everlearn.evaluation.ports import Answering, Progress, Teach
from everlearn.evaluation.questions import KINDS, Plan, Question, also_taught, batches, contradicted
from everlearn.records import Lesson, Taught
from everlearn.store.port import LessonQuery

__all__ = ["EditingOptions", "EditingReport", "run_editing"]


def run_editing(
    engine: Answering, teach: Teach, options: EditingOptions, progress: Progress | None = None
) -> EditingReport:
    """Teach and score.

    Args:
        engine: answers; its memory must be the one that `teach` writes to.
        teach: teaches lessons durably; called with one edit at a time.
        options: what to measure.
        progress: called with (done, total) over all steps.

    Raises:
        FileFormatError: a line of the data is not of the wanted form.
        InputError: more edits or a larger sample are wanted than there are.
        StoreError: the state folder cannot be written.
    """
    plan = planned(options)
    path = journal_path(options, plan.edits, engine.model.digest)
    with Journal(path, restart=options.restart) as journal:
        run = _Run(engine, options, plan, journal, progress)
        run.begin()
        run.ask("bare", plan.asked["locality"], tables=())
        run.teach_all(teach)
        run.ask("after", plan.questions, tables=(options.table,))
        run.settle()
        run.time_questions()
        return run.report()


@final
class _Run:
    """One measurement under way: everything found is in the journal, nothing else has to survive."""

    def __init__(
        self, engine: Answering, options: EditingOptions, plan: Plan, journal: Journal, progress: Progress | None
    ) -> None:
        self._engine, self._options, self._plan, self._journal = engine, options, plan, journal
        self._max_new_tokens = _enough_tokens(engine, options, plan)
        self._asking: Asking = TeacherForced(engine)
        if options.protocol == "wild":
            self._asking = Wild(engine, max_new_tokens=self._max_new_tokens, locality_tokens=options.locality_tokens)
        self._timed = plan.timed(options.timed_questions)
        self._where = where()  # now: the checkout may move on while this runs
        self._progress = progress
        self._done = 0
        self._total = len(plan.asked["locality"]) + len(plan.edits) + len(plan.questions) + len(self._timed)

    def begin(self) -> None:
        """Go on where an earlier attempt stopped if all it taught is still there, else begin with an empty table."""
        store, table = self._engine.memory.store, self._options.table
        taught = [record["lesson"] for record in self._journal.of("taught")]
        if taught and len(store.lessons_by_id(taught)) == len(set(taught)):
            return
        if taught:
            self._journal.clear()
        with contextlib.suppress(TableNotFoundError):  # so in the first measurement in this state
            store.delete_table(table)
        store.put_table(table, self._options.table_settings)

    def ask(self, phase: str, questions: Sequence[Question], tables: Sequence[str]) -> None:
        """Ask everything of a phase that has no answer yet; batches are the same in every phase and attempt."""
        there = {record["batch"] for record in self._journal.of(phase)}
        for number, batch in enumerate(batches(questions, self._options.batch_size)):
            if number not in there:
                start = time.perf_counter()
                given = self._asking.ask(batch, tables)
                seconds = time.perf_counter() - start
                self._journal.append(phase, batch=number, given=[asdict(one) for one in given], seconds=seconds)
            self._step(len(batch))

    def teach_all(self, teach: Teach) -> None:
        """Teach every edit that is not taught yet, each alone, in order."""
        there = {record["edit"] for record in self._journal.of("taught")}
        for number, edit in enumerate(self._plan.edits):
            if number not in there:
                lesson = Lesson(edit.prompt, edit.target, table=self._options.table, source=f"edit {edit.line}")
                taught, ms = _timed(teach, lesson)
                # Where an earlier attempt was killed between teaching and noting it, the lesson is known already.
                self._journal.append("taught", edit=number, lesson=taught.lesson.id, ms=ms, known=taught.known)
            self._step(1)

    def settle(self) -> None:
        """Ask once more, alone, what changed though no entry spoke.

        Where another row of a batch ends earlier than it did for the bare model, the rest runs in a smaller batch,
        and in bfloat16 that can turn an answer. Alone there is no such excuse: what changes then has changed.
        """
        there = {record["question"] for record in self._journal.of("alone")}
        for number, scored in enumerate(self._scored()):
            if sums.changed_without_recall([scored]) and number not in there:
                (bare,) = self._asking.ask([scored.question], ())
                (given,) = self._asking.ask([scored.question], (self._options.table,))
                self._journal.append("alone", question=number, bare=asdict(bare), given=asdict(given))

    def time_questions(self) -> None:
        """How much later the first token comes with memory, on a part of the questions, each asked alone."""
        if not any(self._journal.of("added")):
            start = time.perf_counter()
            advance: Callable[[int, int], None] = lambda _done, _total: self._step(1)  # noqa: E731
            added = added_first_token(self._engine, self._timed, (self._options.table,), progress=advance)
            self._journal.append("added", ms=added.median_ms, seconds=time.perf_counter() - start)
        self._step(self._total - self._done)

    def report(self) -> EditingReport:
        """Sum up what the journal holds."""
        lineage, scored, plan = self._lineage(), self._scored(), self._plan
        replaced, taught = lineage.successors, also_taught(plan.edits, plan.asked["locality"])
        return EditingReport(
            reliability=sums.share(scored, "taught"),
            generality=sums.share(scored, "rephrase"),
            locality=sums.share(scored, "locality"),
            edits=len(plan.edits),
            sampled=len(plan.sample),
            teach_ms=median([record["ms"] for record in self._journal.of("taught") if not record["known"]]),
            added_ms=next(self._journal.of("added"))["ms"],
            protocol=self._options.protocol,
            model=self._engine.model.name,
            intervals=sums.intervals(scored),
            complete=sums.completeness(scored),
            recall=sums.recall_counts(scored, lineage),
            questions={kind: len(plan.asked[kind]) for kind in KINDS},
            superseded=sum(number in replaced for number in plan.sample),
            contradicted=len(contradicted(plan.edits) & set(plan.sample)),
            reliability_without_superseded=sums.share(scored, "taught", replaced),
            generality_without_superseded=sums.share(scored, "rephrase", replaced),
            locality_also_taught=sum(question.text in taught for question in plan.asked["locality"]),
            locality_without_taught=sums.share_of_others(scored, taught),
            changed_without_recall=sums.changed_without_recall(scored),
            asked_again_alone=sum(1 for _ in self._journal.of("alone")),
            active_entries=self._active_entries(),
            failures=sums.failures(scored, lineage),
            settings={**self._options.as_settings(), "max_new_tokens": self._max_new_tokens},
            where=self._where,
            seconds=self._seconds(),
        )

    def _scored(self) -> list[Scored]:
        questions, locality = self._plan.questions, self._plan.asked["locality"]
        before: list[Given | None] = [None] * (len(questions) - len(locality))
        before += self._answers("bare", locality)
        after = self._answers("after", questions)
        for record in self._journal.of("alone"):
            before[record["question"]] = Given.from_record(record["bare"])
            after[record["question"]] = Given.from_record(record["given"])
        return [sums.score(self._asking, *row) for row in zip(questions, after, before, strict=True)]

    def _answers(self, phase: str, questions: Sequence[Question]) -> list[Given]:
        by_batch = {record["batch"]: record["given"] for record in self._journal.of(phase)}
        count = sum(1 for _ in batches(questions, self._options.batch_size))
        return [Given.from_record(row) for number in range(count) for row in by_batch[number]]

    def _lineage(self) -> Lineage:
        lessons = {record["edit"]: record["lesson"] for record in self._journal.of("taught")}
        found = self._engine.memory.store.lessons_by_id(sorted(set(lessons.values())))
        return Lineage(
            lessons,
            {edit: _successor(found, id_) for edit, id_ in lessons.items() if found[id_].status == "superseded"},
            {id_: lesson.prompt for id_, lesson in found.items()},
        )

    def _active_entries(self) -> int:
        return self._engine.memory.store.count(LessonQuery(table=self._options.table, status="active"))

    def _seconds(self) -> dict[str, float]:
        spent = {phase: sum(r["seconds"] for r in self._journal.of(phase)) for phase in ("bare", "after", "added")}
        return {**spent, "teach": sum(record["ms"] for record in self._journal.of("taught")) / 1000}

    def _step(self, count: int) -> None:
        self._done += count
        if self._progress is not None and count:
            self._progress(self._done, self._total)


def _enough_tokens(engine: Answering, options: EditingOptions, plan: Plan) -> int:
    """A limit below the length of a wanted answer would make it wrong by definition."""
    longest = max(len(engine.text.answer_ids(plan.edits[number].target)) for number in plan.sample)
    return max(options.max_new_tokens, longest + 1)


def _timed(teach: Teach, lesson: Lesson) -> tuple[Taught, float]:
    start = time.perf_counter()
    (taught,) = teach([lesson])
    return taught, (time.perf_counter() - start) * 1000


def _successor(found: Mapping[str, Lesson], lesson_id: str) -> str:
    """Id of the last lesson in the chain of replacements."""
    while (lesson := found.get(lesson_id)) is not None and lesson.superseded_by:
        lesson_id = lesson.superseded_by
    return lesson_id

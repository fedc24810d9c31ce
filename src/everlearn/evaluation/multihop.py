"""Teach the edits of many cases, all active at once, then ask questions that need several of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from everlearn.errors import TableNotFoundError
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import where
from everlearn.evaluation.machine import versions
from everlearn.evaluation.metrics import Interval, exact_match, median, wilson
from everlearn.evaluation.multihop_cases import Case, contradicted, drawn, newest, read_cases, untaught
from everlearn.evaluation.ports import Answering, Progress, Teach
from everlearn.records import Answer, Lesson, Sampling, TableSettings

TABLE = "bench-multihop"
_FAILURES_KEPT = 40


@dataclass(frozen=True, slots=True)
class MultihopOptions:
    """What to measure.

    Attributes:
        data: JSON Lines file of cases, as MQuAKE.
        sample: cases whose edits are taught, drawn by `seed`; 0 = all.
        score: how many of them are asked, drawn by `seed`; 0 = all.
        seed: draws both.
        max_new_tokens: an answer that reaches this without a stop token is wrong.
        state: folder where answers are kept, so that a measurement that was killed goes on; None = nowhere.
        restart: drop what is kept and begin anew.
        setup: anything else that the answers depend on.
    """

    data: Path
    sample: int = 0
    score: int = 0
    seed: int = 0
    max_new_tokens: int = 48
    state: Path | None = None
    restart: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)

    def as_settings(self) -> dict[str, Any]:
        """What the answers depend on, as JSON can hold it."""
        kept = {name: value for name, value in asdict(self).items() if name not in {"state", "restart"}}
        return {**kept, "data": self.data.name, "setup": dict(self.setup)}


@dataclass(frozen=True, slots=True)
class Share:
    """Cases answered right, of how many."""

    right: int
    cases: int

    @property
    def value(self) -> float | None:
        """0..1, or None of none."""
        return self.right / self.cases if self.cases else None


@dataclass(frozen=True, slots=True)
class MultihopReport:
    """Outcome.

    Attributes:
        accuracy: share of cases of which any phrasing was answered right, as the data wants it.
        interval: of it, 95 %.
        uncontradicted: the same over cases that no other case's edit contradicts: there the data wants what was taught.
        by_hops: by number of hops.
        by_edits: by number of changed hops.
        by_untaught: by number of hops that no active edit tells, contradicted cases apart.
        reasons: why the others were wrong.
        edits: lessons taught.
        question_ms: median milliseconds of a question with its answer.
        model: name of the base model.
        failures: some that were wrong.
        settings: what was measured.
        where: machine, versions, commit.
    """

    accuracy: Share
    interval: Interval | None
    uncontradicted: Share
    by_hops: dict[str, Share]
    by_edits: dict[str, Share]
    by_untaught: dict[str, Share]
    reasons: dict[str, int]
    edits: int
    question_ms: float | None
    model: str
    failures: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    where: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "share": self.accuracy.value, "share_uncontradicted": self.uncontradicted.value}


def run_multihop(
    engine: Answering, teach: Teach, options: MultihopOptions, progress: Progress | None = None
) -> MultihopReport:
    """Teach and ask. Phrasings of a case are asked one after another until one is answered right.

    Args:
        engine: answers; its memory must be the one that `teach` writes to.
        teach: teaches lessons durably.
        options: what to measure.
        progress: called with (done, total): cases.

    Raises:
        FileFormatError: a line of the data is not of the wanted form.
        InputError: more cases are wanted than there are.
        StoreError: the state folder cannot be written.
    """
    cases = drawn(read_cases(options.data), options.sample, options.seed)
    asked = drawn(cases, options.score, options.seed)
    with Journal(_journal_path(options, engine), restart=options.restart) as journal:
        run = _Run(engine, options, cases, journal)
        run.teach(teach)
        for number, case in enumerate(asked, start=1):
            run.ask(case)
            if progress is not None:
                progress(number, len(asked))
        return run.report(asked)


@final
class _Run:
    """One measurement under way; everything found is in the journal."""

    def __init__(self, engine: Answering, options: MultihopOptions, cases: Sequence[Case], journal: Journal) -> None:
        self._engine, self._options, self._cases, self._journal = engine, options, cases, journal
        self._state = newest(cases)
        self._where = where()  # now: the checkout may move on while this runs
        self._done = {record["case"] for record in journal.of("asked")}

    def teach(self, teach: Teach) -> None:
        """Teach all edits in their order, unless an earlier attempt did and they are still there."""
        store = self._engine.memory.store
        if any(self._journal.of("taught")) and TABLE in {info.name for info in store.tables() if info.active}:
            return
        self._journal.clear()
        self._done.clear()
        with contextlib.suppress(TableNotFoundError):
            store.delete_table(TABLE)
        store.put_table(TABLE, TableSettings())
        edits = dict(edit for case in self._cases for edit in case.edits)
        teach([Lesson(prompt, answer, table=TABLE, source="multihop") for prompt, answer in edits.items()])
        self._journal.append("taught", edits=len(edits))

    def ask(self, case: Case) -> None:
        """Ask a case, unless an earlier attempt did."""
        if case.name in self._done:
            return
        tries = []
        for question in case.questions:
            start = time.perf_counter()
            answer = self._engine.answer(
                question, tables=(TABLE,), sampling=Sampling(max_new_tokens=self._options.max_new_tokens)
            )
            ms = (time.perf_counter() - start) * 1000
            right = answer.finish_reason == "stop" and _is(answer.text, case)
            tries.append({"question": question, "text": answer.text, "ms": ms, "right": right, **self._rested(answer)})
            if right:
                break
        self._journal.append("asked", case=case.name, tries=tries)

    def report(self, asked: Sequence[Case]) -> MultihopReport:
        """Sum up what the journal holds."""
        tries = {record["case"]: record["tries"] for record in self._journal.of("asked")}
        right = {case.name: any(each["right"] for each in tries[case.name]) for case in asked}
        clean = [case for case in asked if not contradicted(case, self._state)]
        wrong = [case for case in asked if not right[case.name]]
        accuracy = _share(asked, right)
        return MultihopReport(
            accuracy=accuracy,
            interval=wilson(accuracy.right / accuracy.cases, accuracy.cases) if accuracy.cases else None,
            uncontradicted=_share(clean, right),
            by_hops=_grouped([(str(len(case.chain)), case) for case in asked], right),
            by_edits=_grouped([(str(len(case.edited)), case) for case in asked], right),
            by_untaught=_grouped([(str(untaught(case, self._state)), case) for case in clean], right),
            reasons=dict(Counter(self._reason(case, tries[case.name]) for case in wrong)),
            edits=next(self._journal.of("taught"))["edits"],
            question_ms=median([each["ms"] for several in tries.values() for each in several]),
            model=self._engine.model.name,
            failures=tuple(
                {"reason": self._reason(case, tries[case.name]), "wanted": case.wanted[0], "tries": tries[case.name]}
                for case in wrong[:_FAILURES_KEPT]
            ),
            settings=self._options.as_settings(),
            where=self._where,
        )

    def _rested(self, answer: Answer) -> dict[str, Any]:
        """Which lessons an answer rests on, in their words."""
        ids = [r.lesson_id for r in answer.receipt.recalled if r.decision in ("hop", "spoke")]
        found = self._engine.memory.store.lessons_by_id(ids)
        hops = any(r.decision == "hop" for r in answer.receipt.recalled)
        return {"hops": hops, "lessons": [[found[i].prompt, found[i].answer] for i in ids if i in found]}

    def _reason(self, case: Case, tries: Sequence[Mapping[str, Any]]) -> str:
        """Why a case was answered wrong, the first that holds."""
        if any(each["lessons"] and _is(each["lessons"][-1][1], case) and each["hops"] for each in tries):
            return "decoding"
        if contradicted(case, self._state):
            return "contradicted"
        return "untaught hop" if untaught(case, self._state) else "retrieval"


def _is(text: str, case: Case) -> bool:
    return any(exact_match(text, wanted) for wanted in case.wanted)


def _share(cases: Sequence[Case], right: Mapping[str, bool]) -> Share:
    return Share(sum(right[case.name] for case in cases), len(cases))


def _grouped(cases: Sequence[tuple[str, Case]], right: Mapping[str, bool]) -> dict[str, Share]:
    return {key: _share([case for k, case in cases if k == key], right) for key in sorted({k for k, _ in cases})}


def _journal_path(options: MultihopOptions, engine: Answering) -> Path | None:
    if options.state is None:
        return None
    everything = [options.as_settings(), engine.model.digest, versions()]
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
    return options.state / f"multihop-{digest[:16]}.jsonl"

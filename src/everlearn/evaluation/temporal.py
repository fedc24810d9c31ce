"""Teach how answers changed over the years, then ask for today's and for each year's: is the memory right in time?"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

from everlearn.errors import InputError, TableNotFoundError
from everlearn.evaluation.chains import Chain, read_chains
from everlearn.evaluation.journal import Journal
from everlearn.evaluation.latency import where
from everlearn.evaluation.machine import versions
from everlearn.evaluation.metrics import Interval, exact_match, mean, wilson
from everlearn.evaluation.ports import Answering, Progress, Teach
from everlearn.records import Lesson, Sampling
from everlearn.text.dates import moment_of

TABLE = "bench-temporal"
MIDDLE = "-07"  # a year is asked about in July: not at the moment at which its lesson begins
MOST_FAILURES = 50
Order = Literal["years", "shuffled"]


@dataclass(frozen=True, slots=True)
class TemporalOptions:
    """What to measure.

    Attributes:
        data: JSON Lines file of chains.
        chains: how many of them to teach, the first ones; 0 = all.
        sample: how many of them to score, drawn by `seed`; 0 = all.
        order: "years" teaches year after year over all chains, "shuffled" in an order drawn by `seed`.
        seed: draws.
        max_new_tokens: an answer that reaches this without a stop token is wrong.
        batch_size: how many questions are asked together.
        state: folder where answers are kept, so that a measurement that was killed goes on; None = nowhere.
        restart: drop what is kept and begin anew.
        setup: anything else that the answers depend on (encoder, device): another value begins anew.
    """

    data: Path
    chains: int = 0
    sample: int = 0
    order: Order = "years"
    seed: int = 0
    max_new_tokens: int = 64
    batch_size: int = 16
    state: Path | None = None
    restart: bool = False
    setup: Mapping[str, str] = field(default_factory=dict)

    def as_settings(self) -> dict[str, Any]:
        """What the answers depend on, as JSON can hold it."""
        kept = {name: value for name, value in asdict(self).items() if name not in {"state", "restart"}}
        return {**kept, "data": self.data.name, "setup": dict(self.setup)}


class Asked(NamedTuple):
    """One question: of which chain, about which year ("" = today), and what is right."""

    chain: int
    query: str
    year: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemporalReport:
    """What was found.

    Attributes:
        latest: share of questions without a time that get the newest answer of their chain.
        as_of: share of questions about a year that get that year's answer.
        intervals: 95 % of each, by chain.
        questions: how many of each were asked.
        silent: how many of each no lesson spoke for.
        failures: some that were wrong.
    """

    latest: float | None
    as_of: float | None
    intervals: Mapping[str, Interval]
    questions: Mapping[str, int]
    silent: Mapping[str, int]
    chains: int
    lessons: int
    model: str
    failures: Sequence[Mapping[str, object]]
    settings: Mapping[str, object]
    where: Mapping[str, object]
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return asdict(self) | {"intervals": {name: each._asdict() for name, each in self.intervals.items()}}


def run_temporal(
    engine: Answering, teach: Teach, options: TemporalOptions, progress: Progress | None = None
) -> TemporalReport:
    """Teach all changes in order and score.

    Answers are decoded freely and count where they end by themselves and match one of the data's names (WILD).

    Args:
        engine: answers; its memory must be the one that `teach` writes to.
        teach: teaches lessons durably; called with one change at a time.
        options: what to measure.
        progress: called with (done, total) over all steps.

    Raises:
        FileFormatError: the data is not of the wanted form.
        InputError: more chains are wanted than there are.
        StoreError: the state folder cannot be written.
    """
    chains = _chains(options)
    path = None
    if options.state is not None:
        everything = [options.as_settings(), repr(chains), engine.model.digest, versions()]
        digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
        path = options.state / f"temporal-{digest[:16]}.jsonl"
    with Journal(path, restart=options.restart) as journal:
        run = _Run(engine, options, chains, journal, progress)
        run.begin()
        run.teach_all(teach)
        run.ask_all()
        return run.report()


@final
class _Run:
    """One measurement under way: everything found is in the journal."""

    def __init__(
        self,
        engine: Answering,
        options: TemporalOptions,
        chains: Sequence[Chain],
        journal: Journal,
        progress: Progress | None,
    ) -> None:
        self._engine, self._options, self._chains, self._journal = engine, options, chains, journal
        self._lessons = _lessons(chains, options)
        self._batches = list(_batches(_questions(chains, options), options.batch_size))
        self._where = where()  # now: the checkout may move on while this runs
        self._progress = progress
        self._done = 0
        self._total = len(self._lessons) + sum(map(len, self._batches))

    def begin(self) -> None:
        """Go on where an earlier attempt stopped if all it taught is still there, else begin with an empty table."""
        store = self._engine.memory.store
        taught = [record["lesson"] for record in self._journal.of("taught")]
        if taught and len(store.lessons_by_id(taught)) == len(set(taught)):
            return
        self._journal.clear()
        with contextlib.suppress(TableNotFoundError):  # so in the first measurement in this state
            store.delete_table(TABLE)
        store.put_table(TABLE, store.table("default"))

    def teach_all(self, teach: Teach) -> None:
        """Teach every change that is not taught yet, each alone."""
        there = {record["change"] for record in self._journal.of("taught")}
        for number, lesson in enumerate(self._lessons):
            if number not in there:
                (taught,) = teach([lesson])
                self._journal.append("taught", change=number, lesson=taught.lesson.id)
            self._step(1)

    def ask_all(self) -> None:
        """Ask everything that has no answer yet."""
        there = {record["batch"] for record in self._journal.of("asked")}
        sampling = Sampling(max_new_tokens=self._options.max_new_tokens)
        for number, batch in enumerate(self._batches):
            if number not in there:
                begun = time.perf_counter()
                answers = self._engine.answer_many(
                    [asked.query for asked in batch],
                    tables=(TABLE,),
                    sampling=sampling,
                    batch_size=len(batch),
                    as_of=batch[0].year + MIDDLE if batch[0].year else None,
                )
                given = [(a.text, a.finish_reason, a.receipt.spoke is not None) for a in answers]
                self._journal.append("asked", batch=number, given=given, seconds=time.perf_counter() - begun)
            self._step(len(batch))

    def report(self) -> TemporalReport:
        """Sum up what the journal holds."""
        records = {record["batch"]: record for record in self._journal.of("asked")}
        scored = [
            (asked, text, _right(asked, text, finish), spoke)
            for number, batch in enumerate(self._batches)
            for asked, (text, finish, spoke) in zip(batch, records[number]["given"], strict=True)
        ]
        kinds = {
            "latest": [each for each in scored if not each[0].year],
            "as_of": [each for each in scored if each[0].year],
        }
        shares = {kind: mean([each[2] for each in found]) for kind, found in kinds.items()}
        units = len({each[0].chain for each in scored})
        return TemporalReport(
            latest=shares["latest"],
            as_of=shares["as_of"],
            intervals={kind: wilson(share, units) for kind, share in shares.items() if share is not None},
            questions={kind: len(found) for kind, found in kinds.items()},
            silent={kind: sum(not each[3] for each in found) for kind, found in kinds.items()},
            chains=len(self._chains),
            lessons=len(self._lessons),
            model=self._engine.model.name,
            failures=[
                {"question": a.query, "year": a.year, "wanted": a.accepted[0], "given": text, "spoke": spoke}
                for a, text, right, spoke in scored
                if not right
            ][:MOST_FAILURES],
            settings=self._options.as_settings(),
            where=self._where,
            seconds=sum(record["seconds"] for record in records.values()),
        )

    def _step(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _chains(options: TemporalOptions) -> list[Chain]:
    chains = read_chains(options.data)
    if max(options.chains, options.sample) > len(chains):
        raise InputError(f"{options.data.name} holds {len(chains)} chains.", hint=f"Ask for at most {len(chains)}.")
    return chains[: options.chains or None]


def _lessons(chains: Sequence[Chain], options: TemporalOptions) -> list[Lesson]:
    """What is taught, in order; within a year the file's order."""
    changes = [(change.year, chain, change.answer) for chain in chains for change in chain.changes]
    changes.sort(key=lambda change: change[0])
    if options.order == "shuffled":
        random.Random(options.seed).shuffle(changes)
    return [
        Lesson(chain.query, answer, TABLE, source=f"{options.data.name}:{chain.line}", valid_from=moment_of(year))
        for year, chain, answer in changes
    ]


def _questions(chains: Sequence[Chain], options: TemporalOptions) -> list[Asked]:
    numbers = list(range(len(chains)))
    if options.sample:
        numbers = sorted(random.Random(options.seed).sample(numbers, options.sample))
    latest = [Asked(n, chains[n].query, "", chains[n].changes[-1].accepted) for n in numbers]
    return latest + [Asked(n, chains[n].query, c.year, c.accepted) for n in numbers for c in chains[n].changes]


def _batches(questions: Sequence[Asked], size: int) -> Iterator[Sequence[Asked]]:
    """Batches of one time each."""
    for year in sorted({asked.year for asked in questions}):
        same = [asked for asked in questions if asked.year == year]
        for start in range(0, len(same), size):
            yield same[start : start + size]


def _right(asked: Asked, text: str, finish: str) -> float:
    return float(finish == "stop" and any(exact_match(text, name) for name in asked.accepted))

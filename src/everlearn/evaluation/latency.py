"""What the table costs in time: to teach, and on top of a question. Everything compared is measured interleaved."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from everlearn.evaluation.machine import commit, machine, versions
from everlearn.evaluation.metrics import median
from everlearn.evaluation.ports import Answering, Progress, Teach
from everlearn.records import DEFAULT_TABLE, Answer, Lesson, Sampling, TableSettings
from everlearn.store.port import LessonQuery

EMPTY_TABLE = "bench-empty"
WARM_UP = 3
Tables = Sequence[str]


@dataclass(frozen=True, slots=True)
class Added:
    """Milliseconds to the first token, with memory and bare, question by question."""

    with_memory: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def median_ms(self) -> float | None:
        """Median of the paired differences."""
        return median([a - b for a, b in zip(self.with_memory, self.bare, strict=True)])


def first_token_ms(engine: Answering, question: str, tables: Tables) -> float:
    """Wall milliseconds from the question to its first token, alone in its batch: recall, prefill, one token."""
    start = time.perf_counter()
    engine.answer(question, tables=tables, sampling=Sampling(max_new_tokens=1))
    return (time.perf_counter() - start) * 1000


def added_first_token(
    engine: Answering, questions: Sequence[str], tables: Tables, *, rounds: int = 1, progress: Progress | None = None
) -> Added:
    """Ask each question with memory and bare, one right after the other, in turning order so that drift cancels out."""
    pairs: list[tuple[float, float]] = []
    for question in questions[:WARM_UP]:
        first_token_ms(engine, question, tables)
        first_token_ms(engine, question, ())
    for number, question in enumerate([*questions] * rounds):
        if number % 2:
            bare = first_token_ms(engine, question, ())
            pairs.append((first_token_ms(engine, question, tables), bare))
        else:
            full = first_token_ms(engine, question, tables)
            pairs.append((full, first_token_ms(engine, question, ())))
        if progress is not None:
            progress(number + 1, len(questions) * rounds)
    return Added(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


@dataclass(frozen=True, slots=True)
class TeachSpeed:
    """How fast pairs are taught.

    Attributes:
        singles: how many were taught one by one, after start-up.
        teach_ms: median milliseconds of one of them, until it is durable.
        teach_ms_p95: 95th percentile of the same.
        bulk: how many were taught in one call.
        bulk_seconds: how long that took.
        where: machine, versions, commit.
    """

    singles: int
    teach_ms: float
    teach_ms_p95: float
    bulk: int
    bulk_seconds: float
    where: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def teach_speed(
    teach: Teach, lessons: Sequence[Lesson], *, singles: int = 50, progress: Progress | None = None
) -> TeachSpeed:
    """Teach a few to warm up, then `singles` one by one, then all the others in one call.

    Args:
        teach: teaches durably.
        lessons: all different; more than `singles` and the warm-up together.
        singles: how many to teach one by one.
        progress: called after each step.
    """
    assert len(lessons) > singles + WARM_UP
    place = where()
    teach(lessons[:1])
    for lesson in lessons[1:WARM_UP]:
        teach([lesson])
    alone, bulk = lessons[WARM_UP : WARM_UP + singles], lessons[WARM_UP + singles :]
    times = []
    for number, lesson in enumerate(alone, start=1):
        times.append(_timed_ms(teach, [lesson]))
        if progress is not None:
            progress(number, len(lessons) - WARM_UP)
    bulk_ms = _timed_ms(teach, bulk)
    if progress is not None:
        progress(len(lessons) - WARM_UP, len(lessons) - WARM_UP)
    return TeachSpeed(singles, median(times) or 0.0, percentile(times, 0.95), len(bulk), bulk_ms / 1000, place)


@dataclass(frozen=True, slots=True)
class SizeCost:
    """What a table of one size adds to a question.

    Attributes:
        entries: active lessons in the table.
        bare_ms: median milliseconds to the first token without any table.
        added_ms_unrelated: median milliseconds added where nothing is known about the question.
        added_ms_hits: the same where a lesson is; None where there is none to ask for.
        spoke_unrelated: at how many of the unrelated questions an entry spoke after all.
        spoke_hits: at how many of the others one spoke.
    """

    entries: int
    bare_ms: float
    added_ms_unrelated: float
    added_ms_hits: float | None
    spoke_unrelated: int
    spoke_hits: int


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """What a table adds to a question, and to each token.

    Attributes:
        sizes: cost per question at each size.
        token_ratio_unrelated: decode milliseconds a token with the full table over those with an empty one; median.
        token_ratio_hits: the same where a lesson speaks, over the bare model's on the same question.
        entries: active lessons in the full table.
        where: machine, versions, commit.
    """

    sizes: tuple[SizeCost, ...]
    token_ratio_unrelated: float | None
    token_ratio_hits: float | None
    entries: int
    where: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """What to measure.

    Attributes:
        sizes: table sizes, rising; at most as many as there are lessons.
        questions: how many questions of each kind.
        rounds: how often each is asked.
        new_tokens: most tokens of an answer when tokens are timed.
        table: the table that grows.
    """

    sizes: tuple[int, ...] = (0, 100, 10_000)
    questions: int = 10
    rounds: int = 3
    new_tokens: int = 32
    table: str = DEFAULT_TABLE


def measure_latency(
    engine: Answering,
    teach: Teach,
    lessons: Sequence[Lesson],
    unrelated: Sequence[str],
    options: LatencyOptions | None = None,
    progress: Progress | None = None,
) -> LatencyReport:
    """Let a table grow, and ask at each size.

    Args:
        engine: with a state of its own whose table is empty.
        teach: teaches many at once.
        lessons: to fill the table with; the first ones are asked for as hits.
        unrelated: questions that none of them answers.
        options: what to measure.
        progress: called after each step.
    """
    options = options or LatencyOptions()
    assert max(options.sizes) <= len(lessons)
    place = where()  # now: the checkout may move on while this runs
    costs, taught, steps = [], 0, len(options.sizes) + 1
    for number, size in enumerate(sorted(options.sizes), start=1):
        if size > taught:
            teach(lessons[taught:size])
            taught = size
        costs.append(_cost(engine, [x.prompt for x in lessons[: min(size, options.questions)]], unrelated, options))
        if progress is not None:
            progress(number, steps)
    engine.memory.store.put_table(EMPTY_TABLE, TableSettings())
    full, hits = (options.table,), [x.prompt for x in lessons[: min(taught, options.questions)]]
    report = LatencyReport(
        tuple(costs),
        _token_ratio(engine, unrelated[: options.questions], full, (EMPTY_TABLE,), options),
        _token_ratio(engine, hits, full, (), options),
        _entries(engine, options.table),
        place,
    )
    if progress is not None:
        progress(steps, steps)
    return report


def _cost(engine: Answering, hits: Sequence[str], unrelated: Sequence[str], options: LatencyOptions) -> SizeCost:
    tables, unrelated = (options.table,), unrelated[: options.questions]
    misses = added_first_token(engine, unrelated, tables, rounds=options.rounds)
    found = added_first_token(engine, hits, tables, rounds=options.rounds)
    return SizeCost(
        _entries(engine, options.table),
        median(misses.bare) or 0.0,
        misses.median_ms or 0.0,
        found.median_ms,
        sum(engine.recall(text, tables=tables).spoke is not None for text in unrelated),
        sum(engine.recall(text, tables=tables).spoke is not None for text in hits),
    )


def _token_ratio(
    engine: Answering, questions: Sequence[str], left: Tables, right: Tables, options: LatencyOptions
) -> float | None:
    """Median over questions of decode milliseconds a token, left over right, asked in turning order."""
    sampling, ratios = Sampling(max_new_tokens=options.new_tokens), []
    for number, question in enumerate([*questions] * options.rounds):
        sides = (left, right) if number % 2 else (right, left)
        spent = {side: _token_ms(engine.answer(question, tables=side, sampling=sampling)) for side in sides}
        if spent[left] and spent[right]:
            ratios.append(spent[left] / spent[right])
    return median(ratios)


def _token_ms(answer: Answer) -> float:
    """Decode milliseconds a token; the first token belongs to the prefill. 0 for an answer of one token."""
    later = answer.usage.completion_tokens - 1
    return answer.usage.decode_ms / later if later > 0 else 0.0


def _entries(engine: Answering, table: str) -> int:
    return engine.memory.store.count(LessonQuery(table=table, status="active"))


def _timed_ms(teach: Teach, lessons: Sequence[Lesson]) -> float:
    start = time.perf_counter()
    teach(lessons)
    return (time.perf_counter() - start) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie (nearest rank)."""
    assert values
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def where() -> dict[str, Any]:
    """Machine, versions and commit, as reports carry them."""
    return {"machine": machine(), "versions": versions(), "commit": commit()}

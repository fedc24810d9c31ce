"""The demonstration, as measurement: teach ten facts, ask in other words, forget one, prove that it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

import torch

from everlearn.evaluation.facts import FACTS, UNRELATED, Fact
from everlearn.evaluation.latency import added_first_token, where
from everlearn.evaluation.metrics import exact_match, median
from everlearn.evaluation.ports import Answering, Progress, Teaching
from everlearn.records import Answer, Lesson, Sampling

PROOF_STEPS = 8
NEW_TOKENS = 48

MakeTwin = Callable[[], tuple[Answering, Teaching]]
"""An engine on the same base model with a fresh, empty state, and who teaches it."""


@dataclass(frozen=True, slots=True)
class FactRow:
    """What became of one fact.

    Attributes:
        prompt: as it was taught.
        question: as it was asked.
        wanted: the answer taught.
        before: answer of the bare model.
        after: answer after all facts were taught.
        right: whether it ended by itself and matches.
        teach_ms: milliseconds of teaching it, until it was durable.
        first_answer_ms: milliseconds of the first question right afterwards, the whole answer.
        probability: of the entry that spoke, or 0.
    """

    prompt: str
    question: str
    wanted: str
    before: str
    after: str
    right: bool
    teach_ms: float
    first_answer_ms: float
    probability: float


@dataclass(frozen=True, slots=True)
class UnrelatedRow:
    """What became of one unrelated question.

    Attributes:
        question: as it was asked.
        before: answer of the bare model.
        after: answer after all facts were taught.
        identical: whether both read the same.
        bit_equal: whether the logits of its first token are the same bits.
    """

    question: str
    before: str
    after: str
    identical: bool
    bit_equal: bool


@dataclass(frozen=True, slots=True)
class ForgettingProof:
    """One fact was forgotten; a twin was never taught it, only the others.

    Attributes:
        prompt: of the forgotten fact, as taught.
        question: the same in other words.
        after: what is answered now.
        twin: what the twin answers.
        differed_while_known: whether the logits were not the twin's while the fact was known; without it, equality
            would prove nothing.
        bit_equal: whether the logits of the first `steps` tokens, of prompt and question, are now the twin's bits.
        steps: how many tokens.
    """

    prompt: str
    question: str
    after: str
    twin: str
    differed_while_known: bool
    bit_equal: bool
    steps: int


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Outcome of the demonstration.

    Attributes:
        taught: how many facts were taught.
        answered: how many of them were answered right in other words.
        unrelated: how many unrelated questions were asked.
        identical: how many of them were answered as before.
        forgotten_bit_equal: whether the forgotten fact left no trace.
        teach_ms_median: median milliseconds of teaching one fact.
        added_ms_median: median milliseconds that memory adds to the first token of a question.
        first_answer_ms_median: median milliseconds of the first answer right after teaching.
        lesson_bytes: bytes that each lesson added to the durable files, their write-ahead log included.
        derived_bytes: the same of the derived files.
        model: name of the base model.
        facts: fact by fact.
        others: unrelated question by unrelated question.
        proof: of forgetting.
        seconds: of the whole demonstration.
        where: machine, versions, commit.
    """

    taught: int
    answered: int
    unrelated: int
    identical: int
    forgotten_bit_equal: bool
    teach_ms_median: float
    added_ms_median: float
    first_answer_ms_median: float
    lesson_bytes: float
    derived_bytes: float
    model: str
    facts: tuple[FactRow, ...]
    others: tuple[UnrelatedRow, ...]
    proof: ForgettingProof
    seconds: float
    where: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_demo(
    engine: Answering,
    learner: Teaching,
    make_twin: MakeTwin,
    facts: Sequence[Fact] = FACTS,
    unrelated: Sequence[str] = UNRELATED,
    progress: Progress | None = None,
) -> DemoReport:
    """Teach, ask, forget, prove.

    Args:
        engine: with an empty memory.
        learner: teaches that engine, and makes it forget.
        make_twin: makes a second engine on the same base model with an empty state of its own.
        facts: to teach; at least two.
        unrelated: questions that none of them answers.
        progress: called with (done, total).
    """
    assert len(facts) > 1
    return _Demo(engine, learner, facts, unrelated, progress).run(make_twin)


@final
class _Demo:
    """One demonstration under way."""

    def __init__(
        self,
        engine: Answering,
        learner: Teaching,
        facts: Sequence[Fact],
        unrelated: Sequence[str],
        progress: Progress | None,
    ) -> None:
        self._engine, self._learner = engine, learner
        self._facts, self._unrelated = facts, unrelated
        self._progress, self._done = progress, 0
        self._total = 5 * len(facts) + 2 * len(unrelated)
        self._where = where()
        self._started = time.perf_counter()

    def run(self, make_twin: MakeTwin) -> DemoReport:
        questions = [fact.question for fact in self._facts]
        before = self._ask(questions, tables=())
        others_before = self._ask(self._unrelated, tables=())
        bytes_before = self._bytes()
        taught = [self._teach(fact) for fact in self._facts]
        bytes_after = self._bytes()
        after = self._ask(questions)
        others_after = self._ask(self._unrelated)
        others = self._others(others_before, others_after)
        added = added_first_token(self._engine, questions, self._tables(), progress=lambda _done, _total: self._step(1))
        # The last fact is forgotten: nothing was taught after it that could hide a trace.
        proof = self._prove(make_twin, taught[-1][0])
        rows = tuple(
            FactRow(
                fact.prompt,
                fact.question,
                fact.answer,
                old.text,
                new.text,
                _right(new, fact),
                ms,
                first_ms,
                _spoke(new),
            )
            for fact, old, new, (_, ms, first_ms) in zip(self._facts, before, after, taught, strict=True)
        )
        return DemoReport(
            taught=len(rows),
            answered=sum(row.right for row in rows),
            unrelated=len(others),
            identical=sum(row.identical for row in others),
            forgotten_bit_equal=proof.bit_equal and proof.differed_while_known,
            teach_ms_median=median([row.teach_ms for row in rows]) or 0.0,
            added_ms_median=added.median_ms or 0.0,
            first_answer_ms_median=median([row.first_answer_ms for row in rows]) or 0.0,
            lesson_bytes=(bytes_after[0] - bytes_before[0]) / len(rows),
            derived_bytes=(bytes_after[1] - bytes_before[1]) / len(rows),
            model=self._engine.model.name,
            facts=rows,
            others=others,
            proof=proof,
            seconds=time.perf_counter() - self._started,
            where=self._where,
        )

    def _ask(self, questions: Sequence[str], tables: Sequence[str] | None = None) -> list[Answer]:
        sampling = Sampling(max_new_tokens=NEW_TOKENS)
        answers = self._engine.answer_many(questions, tables=tables, sampling=sampling, batch_size=len(questions))
        self._step(len(questions))
        return answers

    def _teach(self, fact: Fact) -> tuple[str, float, float]:
        """Teach a fact and ask for it at once; returns its lesson's id, and milliseconds of both."""
        begun = time.perf_counter()
        lesson = self._learner.teach(Lesson(fact.prompt, fact.answer, source="demonstration")).lesson
        durable = time.perf_counter()
        self._engine.answer(fact.question, sampling=Sampling(max_new_tokens=NEW_TOKENS))
        answered = time.perf_counter()
        self._step(1)
        return lesson.id, (durable - begun) * 1000, (answered - durable) * 1000

    def _others(self, before: Sequence[Answer], after: Sequence[Answer]) -> tuple[UnrelatedRow, ...]:
        rows = []
        for question, old, new in zip(self._unrelated, before, after, strict=True):
            same_bits = torch.equal(self._engine.logits(question, tables=()), self._engine.logits(question))
            same_text = (old.text, old.finish_reason) == (new.text, new.finish_reason)
            rows.append(UnrelatedRow(question, old.text, new.text, same_text, same_bits))
        return tuple(rows)

    def _prove(self, make_twin: MakeTwin, lesson_id: str) -> ForgettingProof:
        *kept, forgotten = self._facts
        twin, teacher = make_twin()
        for fact in kept:
            teacher.teach(Lesson(fact.prompt, fact.answer, source="demonstration"))
            self._step(1)
        known = self._traces(self._engine, forgotten)
        never = self._traces(twin, forgotten)
        self._learner.forget(lesson_id)
        gone = self._traces(self._engine, forgotten)
        # Alone, both: in bfloat16 a batch of another size may lead a long answer elsewhere.
        sampling = Sampling(max_new_tokens=NEW_TOKENS)
        after, twins = (e.answer(forgotten.question, sampling=sampling).text for e in (self._engine, twin))
        self._step(self._total - self._done)
        return ForgettingProof(
            forgotten.prompt,
            forgotten.question,
            after,
            twins,
            not any(torch.equal(a, b) for a, b in zip(known, never, strict=True)),
            all(torch.equal(a, b) for a, b in zip(gone, never, strict=True)),
            PROOF_STEPS,
        )

    @staticmethod
    def _traces(engine: Answering, fact: Fact) -> list[torch.Tensor]:
        return [engine.logits(text, steps=PROOF_STEPS) for text in (fact.prompt, fact.question)]

    def _tables(self) -> list[str]:
        return [table.name for table in self._engine.memory.store.tables()]

    def _bytes(self) -> tuple[int, int]:
        memory = self._engine.memory
        return memory.store.stored_bytes(), memory.derived.stored_bytes()

    def _step(self, count: int) -> None:
        self._done += count
        if self._progress is not None and count:
            self._progress(self._done, self._total)


def _right(answer: Answer, fact: Fact) -> bool:
    return answer.finish_reason == "stop" and exact_match(answer.text, fact.answer)


def _spoke(answer: Answer) -> float:
    return answer.receipt.spoke.probability if answer.receipt.spoke else 0.0

"""Two protocols of asking: as a user meets the model (WILD), and with the wanted answer fed in (teacher-forced)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final

from everlearn.evaluation.metrics import exact_match, token_agreement
from everlearn.evaluation.ports import Answering
from everlearn.evaluation.questions import Question
from everlearn.records import Receipt, Sampling

ProtocolName = Literal["wild", "teacher-forced"]


@dataclass(frozen=True, slots=True)
class Given:
    """What came for one question, as it is kept.

    Attributes:
        text: the answer, under WILD.
        finish: why it ended, under WILD.
        tokens: [A] the arg-max at each step of the wanted answer, the stop token's step last, when teacher-forced.
        spoke: id of the lesson the answer rests on, or empty.
        probability: calibrated probability of the likeliest entry that was looked at.
    """

    text: str = ""
    finish: str = ""
    tokens: tuple[int, ...] = ()
    spoke: str = ""
    probability: float = 0.0

    @classmethod
    def from_record(cls, row: dict[str, Any]) -> Given:
        """From what JSON made of it."""
        return cls(**{**row, "tokens": tuple(row["tokens"])})


class Asking(Protocol):
    """A protocol: how to ask, when an answer is right, and when it is unchanged."""

    def ask(self, questions: Sequence[Question], tables: Sequence[str]) -> list[Given]:
        """Ask questions of one kind together; tables () is the bare model."""
        ...

    def right(self, question: Question, given: Given) -> float:
        """How right it is, 0..1."""
        ...

    def complete(self, question: Question, given: Given) -> bool:
        """Whether all of it is right, and it stops where it should."""
        ...

    def unchanged(self, question: Question, bare: Given, given: Given) -> float:
        """How much of the bare model's answer is left, 0..1."""
        ...


def _spoken(receipt: Receipt) -> tuple[str, float]:
    speaker = receipt.spoke
    likeliest = max((entry.probability for entry in receipt.recalled), default=0.0)
    return (speaker.lesson_id if speaker else "", likeliest)


@final
class Wild:
    """Chat template, free greedy decoding to a natural stop, normalised exact match.

    An answer that reaches `max_new_tokens` without the stop token is wrong, whatever it holds. A locality answer is
    unchanged when its first `locality_tokens` tokens read exactly as the bare model's, asked in the same batches.

    Source: The Mirage of Model Editing, Yang et al. 2025, arXiv 2502.11177 (WILD); exact match instead of a judge.
    """

    def __init__(self, engine: Answering, *, max_new_tokens: int, locality_tokens: int) -> None:
        self._engine = engine
        self._limits = {"taught": max_new_tokens, "rephrase": max_new_tokens, "locality": locality_tokens}

    def ask(self, questions: Sequence[Question], tables: Sequence[str]) -> list[Given]:
        """Ask all of them in one batch."""
        sampling = Sampling(max_new_tokens=self._limits[questions[0].kind])
        texts = [question.text for question in questions]
        answers = self._engine.answer_many(texts, tables=tables, sampling=sampling, batch_size=len(texts))
        return [Given(answer.text, answer.finish_reason, (), *_spoken(answer.receipt)) for answer in answers]

    def right(self, question: Question, given: Given) -> float:
        """1 for an answer that ends by itself and matches, else 0."""
        return float(given.finish == "stop" and exact_match(given.text, question.wanted))

    def complete(self, question: Question, given: Given) -> bool:
        """The same: this protocol knows no halves."""
        return bool(self.right(question, given))

    def unchanged(self, question: Question, bare: Given, given: Given) -> float:
        """1 for the same text with the same end, else 0."""
        return float((bare.text, bare.finish) == (given.text, given.finish))


@final
class TeacherForced:
    """The wanted answer is fed in; the share of its tokens that are arg-max. It flatters, and it is what papers print.

    The stop token is asked for too but does not count in the share, as in the literature; `complete` counts it.

    Source: `test_prediction_acc` of EasyEdit, Wang et al. 2023, arXiv 2308.07269.
    """

    def __init__(self, engine: Answering) -> None:
        self._engine = engine

    def ask(self, questions: Sequence[Question], tables: Sequence[str]) -> list[Given]:
        """Ask one after another."""
        return [self._ask_one(question, tables) for question in questions]

    def right(self, question: Question, given: Given) -> float:
        """Share of the wanted tokens, without the stop token, that are arg-max."""
        wanted = self._engine.text.answer_ids(question.wanted)
        return token_agreement(given.tokens[:-1], wanted[:-1])

    def complete(self, question: Question, given: Given) -> bool:
        """Whether all tokens are arg-max, the stop token included."""
        return list(given.tokens) == self._engine.text.answer_ids(question.wanted)

    def unchanged(self, question: Question, bare: Given, given: Given) -> float:
        """Share of the steps of the data's own answer at which the arg-max is still the bare model's."""
        return token_agreement(given.tokens, bare.tokens)

    def _ask_one(self, question: Question, tables: Sequence[str]) -> Given:
        logits = self._engine.forced_logits(question.text, question.wanted, tables=tables)
        spoken = _spoken(self._engine.recall(question.text, tables=tables))
        return Given("", "", tuple(logits.argmax(dim=-1).tolist()), *spoken)

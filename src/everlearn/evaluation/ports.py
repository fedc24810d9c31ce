"""What a measurement needs of an engine and of a learner, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from everlearn.records import Answer, Forgotten, Lesson, Receipt, Sampling, Taught
from everlearn.store.port import DerivedStore, LessonStore

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Teach = Callable[[Sequence[Lesson]], Sequence[Taught]]
"""Teaches lessons, in order, and returns when they are durable; one result per lesson."""


class ModelFacts(Protocol):
    """Which base model it is."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def digest(self) -> str:
        """Hex digest that identifies its weights."""
        ...


class AnswerTokens(Protocol):
    """How an answer is cut into tokens."""

    def answer_ids(self, answer: str) -> list[int]:
        """Token ids of an answer, the stop token last."""
        ...


class Stores(Protocol):
    """Where an engine's memory lies on disk."""

    @property
    def store(self) -> LessonStore:
        """What must survive."""
        ...

    @property
    def derived(self) -> DerivedStore:
        """What can be computed again."""
        ...


class Answering(Protocol):
    """The part of an engine that is measured. `tables` None = all tables, () = the bare base model."""

    @property
    def model(self) -> ModelFacts:
        """The base model."""
        ...

    @property
    def text(self) -> AnswerTokens:
        """Its tokens."""
        ...

    @property
    def memory(self) -> Stores:
        """Its taught memory."""
        ...

    def answer(self, prompt: str, *, tables: Sequence[str] | None = None, sampling: Sampling | None = None) -> Answer:
        """Answer one question."""
        ...

    def answer_many(
        self,
        prompts: Sequence[str],
        *,
        tables: Sequence[str] | None = None,
        sampling: Sampling | None = None,
        batch_size: int = 16,
        as_of: str | None = None,
    ) -> list[Answer]:
        """Answer several questions together."""
        ...

    def recall(self, prompt: str, *, tables: Sequence[str] | None = None) -> Receipt:
        """Which entries would speak; nothing is decoded."""
        ...

    def logits(self, prompt: str, *, tables: Sequence[str] | None = None, steps: int = 1) -> torch.Tensor:
        """Logits [steps, V] float32 of a greedy answer, after corrections."""
        ...

    def forced_logits(self, prompt: str, answer: str, *, tables: Sequence[str] | None = None) -> torch.Tensor:
        """Logits [A, V] float32 at each step of `answer` while its own tokens are fed; the stop token's step last."""
        ...


class Teaching(Protocol):
    """The part of a learner that is measured."""

    def teach(self, lesson: Lesson) -> Taught:
        """Teach one lesson, durably."""
        ...

    def forget(self, ids: str) -> Forgotten:
        """Forget one lesson."""
        ...

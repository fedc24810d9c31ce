"""What training reads: a prompt with the answer wanted, or with the distribution wanted at each of its tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from everlearn.errors import FileFormatError
from everlearn.records import Message
from everlearn.text.chat import ChatText


@final
@dataclass(frozen=True, slots=True, eq=False)
class SoftTargets:
    """A teacher's distribution at each answer step: its likeliest tokens; what is left over is one bucket.

    Attributes:
        tokens: [A, K] int32.
        shares: [A, K] float16, their probabilities.
    """

    tokens: Tensor
    shares: Tensor

    def to_text(self) -> str:
        """Both as base64, 6 bytes a token."""
        packed = self.tokens.int().numpy().astype("<i4").tobytes() + self.shares.half().numpy().astype("<f2").tobytes()
        return f"{self.tokens.shape[1]}:" + base64.b64encode(packed).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> SoftTargets:
        """Read what `to_text` wrote."""
        width, _, packed = text.partition(":")
        data = base64.b64decode(packed)
        count = len(data) // 6
        tokens = np.frombuffer(data[: count * 4], "<i4").reshape(-1, int(width))
        shares = np.frombuffer(data[count * 4 :], "<f2").reshape(-1, int(width))
        return cls(torch.from_numpy(tokens.copy()), torch.from_numpy(shares.copy()))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One thing to train on.

    Attributes:
        prompt: what is asked.
        answer: what is to be answered.
        domain: subject area.
        importance: 0..1.
        source: lesson id, or file and line, by which it can be un-learned.
        soft: the teacher's distributions; None = the answer's own tokens are the target.
        weight: how much its loss counts.
    """

    prompt: str
    answer: str
    domain: str = "general"
    importance: float = 0.5
    source: str = ""
    soft: SoftTargets | None = None
    weight: float = 1.0

    @property
    def id(self) -> str:
        """Digest of prompt and answer: the same example has the same id."""
        return hashlib.sha256(f"{self.prompt}\0{self.answer}".encode("utf-8", "replace")).hexdigest()[:16]

    def to_row(self) -> dict[str, Any]:
        """As JSON can hold it."""
        row = {name: getattr(self, name) for name in ("prompt", "answer", "domain", "importance", "source")}
        if self.weight != 1.0:
            row["weight"] = self.weight
        return {**row, "soft": self.soft.to_text()} if self.soft is not None else row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """Read what `to_row` gave.

        Raises:
            FileFormatError: a field is missing or of another kind.
        """
        try:
            fields = {name: str(row[name]) for name in ("prompt", "answer", "domain", "source")}
            soft = SoftTargets.from_text(row["soft"]) if "soft" in row else None
            return cls(**fields, importance=float(row["importance"]), soft=soft, weight=float(row.get("weight", 1.0)))
        except (KeyError, TypeError, ValueError) as cause:
            raise FileFormatError(f"An example cannot be read: {cause!r}.", hint="Use another copy.") from cause


@final
@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An example as token ids.

    Attributes:
        prompt: [T] token ids up to where the answer begins.
        answer: [A] token ids, the stop token last.
        soft: as in `Example`, one row for each answer token.
        weight: how much it counts.
    """

    prompt: list[int]
    answer: list[int]
    soft: SoftTargets | None = None
    weight: float = 1.0


def encoded(text: ChatText, example: Example, *, most: int = 1024) -> Encoded:
    """Tokens of an example; a prompt that is too long loses its middle.

    Args:
        text: tokenizer and chat template.
        example: what to encode.
        most: tokens of prompt and answer together.
    """
    answer = text.answer_ids(example.answer)[: most // 2]
    prompt = text.prompt_ids([Message("user", example.prompt)])
    if (over := len(prompt) + len(answer) - most) > 0:
        # The beginning says what is asked for, the end leads over to the answer.
        half = (len(prompt) - over) // 2
        prompt = prompt[:half] + prompt[half + over :]
    soft = example.soft
    if soft is not None and len(soft.tokens) == len(answer) - 1:
        answer = answer[:-1]  # the teacher's answer was cut before it came to an end: how to stop is not taught
    if soft is not None and len(soft.tokens) != len(answer):
        soft = None  # cut, or made by another tokenizer: the tokens themselves are still right
    return Encoded(prompt, answer, soft, example.weight)


def digest_of(examples: list[Example]) -> str:
    """The sha256 hex of examples in their order: names a data set in an adapter's lineage."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(example.to_row(), sort_keys=True).encode())
    return digest.hexdigest()

"""What the base model knows by itself: one fact, asked for in the form that gets most out of a small model."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import final

import torch

from everlearn.models.base import BaseModel
from everlearn.models.cache import KeyValueCache
from everlearn.text.chat import ChatText

# Three questions about nothing in particular show the form: a bare name as answer, no sentence.
_FORM = (
    "Q: What is the capital of Peru?\nA: Lima\n\nQ: Who wrote Don Quixote?\nA: Miguel de Cervantes\n\n"
    "Q: What is the mascot of Yale University?\nA: bulldog\n\n"
)
_MOST_TOKENS = 12
_REMEMBERED = 10_000


@final
class BaseKnowledge:
    """Asks the base model for single facts, without any taught memory.

    Args:
        model: the base model.
        text: its tokenizer.
    """

    def __init__(self, model: BaseModel, text: ChatText) -> None:
        self._model, self._text = model, text
        self._known: OrderedDict[tuple[str, tuple[str, ...]], tuple[str, float]] = OrderedDict()
        self._form: tuple[KeyValueCache, int] | None = None
        self._line_end = frozenset(text.plain_ids("\n"))

    def ask(self, question: str, candidates: Sequence[str]) -> tuple[str, float]:
        """The likeliest answer, and how sure the model is of it, 0..1.

        Args:
            question: about one fact.
            candidates: what the answer can be; none = anything. It is chosen word by word among those that still fit.

        Returns:
            The answer, or "" where the model says nothing; the geometric mean of its tokens' probabilities, among
            candidates relative to those that still fitted.
        """
        key = (question, tuple(candidates))
        if key not in self._known:
            self._known[key] = self._asked(question, candidates)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return self._known[key]

    def forget(self) -> None:
        """Let go of remembered answers: questions may name what a lesson said."""
        self._known.clear()

    def _asked(self, question: str, candidates: Sequence[str]) -> tuple[str, float]:
        said = [(c.removeprefix("The ").removeprefix("the "), c) for c in candidates]  # "Beatles" is said as well
        spelled = {tuple(self._text.plain_ids(f" {c}")): full for c, full in [*said, *((c, c) for c in candidates)]}
        cache, logits = self._read(f"Q: {question[:1].upper()}{question[1:]}\nA:")
        taken: list[int] = []
        odds: list[float] = []
        while len(taken) < max(_MOST_TOKENS, *map(len, spelled), 0):
            allowed = sorted({ids[len(taken)] for ids in spelled if len(ids) > len(taken)} | self._ends(spelled, taken))
            token, likelihood = _best(logits, allowed if candidates else None)
            odds.append(likelihood)
            if token in self._line_end or token in self._text.stop_ids:
                break
            taken.append(token)
            spelled = {ids: c for ids, c in spelled.items() if ids[: len(taken)] == tuple(taken)}
            if candidates and len(spelled) == 1:
                break
            logits = self._model.forward(torch.tensor([[token]], device=self._model.device), cache)[0].cpu()
        answer = self._text.decode(taken).strip().rstrip(".")
        if candidates:
            answer = spelled.get(tuple(taken)) or next(iter(spelled.values()))
        return answer, math.exp(sum(odds) / len(odds))

    def _ends(self, spelled: dict[tuple[int, ...], str], taken: Sequence[int]) -> set[int]:
        """The end of the line, where one of the candidates is complete."""
        return set(self._line_end) if tuple(taken) in spelled else set()

    def _read(self, question: str) -> tuple[KeyValueCache, torch.Tensor]:
        """Read a question behind the form, which is read once for all."""
        if self._form is None:
            cache = self._model.new_cache()
            ids = self._text.plain_ids(_FORM)
            self._model.forward(torch.tensor([ids], device=self._model.device), cache)
            self._form = (cache, len(ids))
        cache = self._form[0].copy()
        ids = self._text.plain_ids(question)
        return cache, self._model.forward(torch.tensor([ids], device=self._model.device), cache)[0].cpu()


def _best(logits: torch.Tensor, allowed: Sequence[int] | None) -> tuple[int, float]:
    """The likeliest token (of those allowed), and its log-likelihood among them."""
    if allowed is None:
        likely = logits.log_softmax(0)
        token = int(likely.argmax())
        return token, float(likely[token])
    likely = logits[list(allowed)].log_softmax(0)
    place = int(likely.argmax())
    return allowed[place], float(likely[place])

"""The guard: all checks of one lesson at write time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from everlearn.safety.finding import Finding
from everlearn.safety.hidden import hidden_characters, markers, seen, unseen_parts
from everlearn.safety.hubs import Hubs
from everlearn.safety.instructions import InstructionModel, packaged
from everlearn.safety.passages import Flood, repeated_question
from everlearn.safety.prompts import generic_prompt

_LENIENCE = 3.0  # log-odds: what is hidden from the reader needs less to count as an order


class Keys(Protocol):
    """What the guard needs of the maker of keys."""

    @property
    def digest(self) -> str:
        """Which encoder."""
        ...

    @property
    def rarity(self) -> Callable[[str], float]:
        """Rarity of a folded word, 0.15 for words of grammar."""
        ...

    def vectors(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Unit embeddings [N, K]."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """A lesson as the guard sees it.

    Attributes:
        prompt: the question; of a passage its titles.
        text: what a model would be given to say or read: the answer or passage.
        vector: [K], its key.
        context: what the question is about.
        passage: whether it is a passage of a document.
        source: where it comes from.
        hijacked: questions of other lessons that it would answer.
    """

    prompt: str
    text: str
    vector: NDArray[np.float32]
    context: str = ""
    passage: bool = False
    source: str = ""
    hijacked: int = 0


@final
class Guard:
    """Judges lessons before they are learned; a fraction of a millisecond each.

    Args:
        keys: makes keys of prompts.
        words: folds a text to words.
        model: tells orders from information.
    """

    def __init__(
        self, keys: Keys, words: Callable[[str], Sequence[str]], model: InstructionModel | None = None
    ) -> None:
        self._keys = keys
        self._words = words
        self._hubs = Hubs(keys.vectors, keys.digest)
        self._flood = Flood(words, keys.rarity)
        self._model = model or packaged()

    def judge(self, lesson: Evidence) -> list[Finding]:
        """Reasons to hold a lesson back; none where it may be learned."""
        found = [*self._texts(lesson), *self._orders(lesson)]
        if lesson.passage:
            found += repeated_question(lesson.text, self._words, self._keys.rarity)
            found += self._flood.judge(lesson.source, lesson.text) if lesson.source else []
        else:
            found += generic_prompt(self._words(lesson.prompt), self._keys.rarity)
            found += self._hubs.judge(lesson.vector, lesson.hijacked)
        return list({f.reason: f for f in found}.values())

    def _texts(self, lesson: Evidence) -> list[Finding]:
        texts = [t for t in (lesson.prompt, lesson.context, lesson.text) if t]
        return [finding for text in texts for finding in (*hidden_characters(text), *markers(text))]

    def _orders(self, lesson: Evidence) -> list[Finding]:
        # The prompt itself may be one: whoever teaches how to answer "ignore your instructions" has to write it.
        shown = [t for t in (lesson.context, lesson.text) if t]
        found = [self._order(seen(text), "It gives orders to the model", 0.0) for text in shown]
        for text in (lesson.prompt, *shown):
            found += [
                self._order(part, "A part that readers do not see gives orders", _LENIENCE)
                for part in unseen_parts(text)
            ]
        return [finding for finding in found if finding is not None]

    def _order(self, text: str, what: str, lenience: float) -> Finding | None:
        log_odds, telling = self._model.log_odds(text)
        if log_odds < self._model.threshold - lenience:
            return None
        named = ", ".join(repr(gram) for gram in telling if not gram.startswith("#"))
        return Finding("instruction", f"{what}{f' ({named})' if named else ''}.")

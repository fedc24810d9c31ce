"""Plain retrieval-augmented prompting: the nearest facts are put in front of every question, by the table's encoder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from everlearn.evaluation.asking import Given
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.memory.key import KeyMaker
from peers.decoding import Decoder, Forced
from peers.editor import prompt_of

FORM = "Facts:\n{facts}\n\nAnswer with the fact alone, in as few words as it has.\n\n{question}"


@final
class Retrieval:
    """Puts the `count` nearest facts (cosine of the sentence encoder, no threshold) into the prompt.

    Source: Lewis et al. 2020, arXiv 2005.11401, as it is used without training; the encoder is the look-up table's.

    Args:
        decoder: asks the base model.
        keys: makes the vectors.
        count: facts in the prompt.
    """

    own_bare = False

    def __init__(self, decoder: Decoder, keys: KeyMaker, count: int) -> None:
        assert count > 0
        self.name = f"retrieval-{count}"
        self._decoder, self._keys, self._count = decoder, keys, count
        self._vectors: dict[str, np.ndarray] = {}
        self.begin()

    def begin(self) -> None:
        """Forget all facts; vectors of texts are kept, they are the same for any facts."""
        self._edits: list[Edit] = []
        self._rows = np.zeros((0, self._keys.width), dtype=np.float32)

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """Encode the facts, in batches."""
        known = [edit.prompt in self._vectors for edit in edits]
        start = time.perf_counter()
        rows = self._encoded([edit.prompt for edit in edits])
        spent = (time.perf_counter() - start) * 1000
        self._rows = np.concatenate([self._rows, rows])
        self._edits += edits
        fresh = known.count(False)
        return [spent / fresh] * fresh  # a vector that was at hand tells nothing of what it costs

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Always, once there is a fact: this way knows no threshold."""
        return [bool(self._edits)] * len(questions)

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers with the facts in the prompt."""
        return self._decoder.free(self._prompts(questions), most)

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers with the facts in the prompt."""
        answers = [self._decoder.text.answer_ids(q.wanted) for q in questions]
        return self._decoder.forced(list(zip(self._prompts(questions), answers, strict=True)))

    def settings(self) -> dict[str, Any]:
        """How many facts, and how they are put."""
        return {"facts_in_prompt": self._count, "form": FORM}

    def close(self) -> None:
        """Nothing to undo."""

    def nearest(self, texts: Sequence[str]) -> list[list[Edit]]:
        """The facts for each text, the nearest first."""
        scores = self._encoded(texts) @ self._rows.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self._count]
        return [[self._edits[n] for n in row] for row in best]

    def _prompts(self, questions: Sequence[Question]) -> list[list[int]]:
        texts = [q.text for q in questions]
        return [self._prompt(*pair) for pair in zip(texts, self.nearest(texts), strict=True)]

    def _prompt(self, question: str, facts: Sequence[Edit]) -> list[int]:
        if not facts:
            return prompt_of(self._decoder.text, question)
        told = "\n".join(f"- {fact.prompt} {fact.target}" for fact in facts)
        return prompt_of(self._decoder.text, FORM.format(facts=told, question=question))

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [N, K]."""
        new = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if new:
            self._vectors.update(zip(new, self._keys.vectors(new), strict=True))
        return np.stack([self._vectors[text] for text in texts])

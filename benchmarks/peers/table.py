"""everlearn's look-up table, as it is shipped, behind the same face as its peers."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch

from everlearn.engine.engine import Engine
from everlearn.errors import TableNotFoundError
from everlearn.evaluation.asking import Given, Wild
from everlearn.evaluation.edits import Edit
from everlearn.evaluation.questions import Question
from everlearn.learning.learner import Learner
from everlearn.records import Lesson, Receipt, TableSettings
from everlearn.wiring import Parts, Settings, engine_over, open_derived, open_store
from peers.decoding import BATCH, Forced

TABLE = "grid"
INERT = frozenset({"no_room", "outranked", "below_threshold", "silent"})
"""Decisions after which an entry has no part in an answer; whatever else a receipt says counts as taking part."""


@final
class Table:
    """The editor. What no entry has a part in is answered by the bare model, bit for bit; `verified` proves it.

    Args:
        parts: base model, text, keys.
        settings: of everlearn; a state of its own is used, which `close` drops.
        table: settings of the look-up table.
        losses: whether `forced` must tell what each token costs. Where it need not, a wanted answer that free decoding
            gave to the last token, stop included, is not computed again: the same tokens were fed, each was arg-max.
    """

    name = "everlearn"
    own_bare = False

    def __init__(
        self, parts: Parts, settings: Settings, table: TableSettings | None = None, *, losses: bool = False
    ) -> None:
        self._table, self._losses = table or TableSettings(), losses
        self._touched: dict[str, bool] = {}
        self._said: dict[str, Given] = {}
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        own = settings.model_copy(update={"home": Path(self._folder.name), "state": Path(self._folder.name)})
        self.engine: Engine = engine_over(parts, open_store(own), open_derived(own))
        self._learner = Learner(self.engine, background=False)
        self.begin()

    def begin(self) -> None:
        """An empty table."""
        store = self.engine.memory.store
        with contextlib.suppress(TableNotFoundError):  # so the first time
            store.delete_table(TABLE)
        store.put_table(TABLE, self._table)
        self._changed()

    def teach(self, edits: Sequence[Edit]) -> list[float]:
        """One lesson after another, each durable before the next."""
        self._changed()
        spent = []
        for edit in edits:
            start = time.perf_counter()
            self._learner.teach(Lesson(edit.prompt, edit.target, table=TABLE, source=f"edit {edit.line}"))
            spent.append((time.perf_counter() - start) * 1000)
        return spent

    def touches(self, questions: Sequence[Question]) -> list[bool]:
        """Whether an entry has a part in the answer."""
        for text in {q.text for q in questions} - set(self._touched):
            self._touched[text] = _takes_part(self.engine.recall(text, tables=(TABLE,)))
        return [self._touched[q.text] for q in questions]

    def free(self, questions: Sequence[Question], most: int) -> list[Given]:
        """Greedy answers of the engine."""
        wild = Wild(self.engine, max_new_tokens=most, locality_tokens=most)
        parts = [questions[first : first + BATCH] for first in range(0, len(questions), BATCH)]
        answers = [given for part in parts for given in wild.ask(part, (TABLE,))]
        self._said.update(zip((q.text for q in questions), answers, strict=True))
        return answers

    def forced(self, questions: Sequence[Question]) -> list[Forced]:
        """What is said at each step of the wanted answers, corrections applied."""
        return [self._forced_one(q) for q in questions]

    def verified(self, questions: Sequence[Question]) -> int:
        """How many of these, in which no entry has a part, give the very bits of the bare model's first logits."""
        same = [
            torch.equal(self.engine.logits(q.text, tables=(TABLE,)), self.engine.logits(q.text, tables=()))
            for q in questions
        ]
        return sum(same)

    def settings(self) -> dict[str, Any]:
        """Settings of the table."""
        return dataclasses.asdict(self._table)

    def close(self) -> None:
        """Drop its state."""
        self._learner.close()
        self.engine.close()
        self._folder.cleanup()

    def _changed(self) -> None:
        self._touched, self._said = {}, {}

    def _forced_one(self, question: Question) -> Forced:
        said, tokens = self._said.get(question.text), self.engine.text.answer_ids(question.wanted)
        if not self._losses and said and (said.text, said.finish) == (self.engine.text.decode(tokens).strip(), "stop"):
            return Forced(tuple(tokens), ())
        logits = self.engine.forced_logits(question.text, question.wanted, tables=(TABLE,))
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(tokens), reduction="none")
        return Forced(tuple(logits.argmax(dim=-1).tolist()), tuple(losses.tolist()))


def _takes_part(receipt: Receipt) -> bool:
    return any(entry.decision not in INERT for entry in receipt.recalled)

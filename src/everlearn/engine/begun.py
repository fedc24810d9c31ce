"""An answer on its way: what is settled before its prompt is read, and after."""

from __future__ import annotations

from dataclasses import dataclass

from everlearn.engine.held import Held
from everlearn.engine.row import Row
from everlearn.engine.wishes import Wishes
from everlearn.memory.cursor import Cursor
from everlearn.memory.recall import Recall
from everlearn.models.window import RollingWindow
from everlearn.records import Sampling


@dataclass(slots=True)
class Prepared:
    """An answer of which everything is settled but nothing was read.

    Attributes:
        recall: what was found for it.
        prompt_ids: [T].
        own_tokens: of the prompt, counted from its begin, those that belong to the conversation; behind them lessons
            may stand.
        sampling: checked.
        cursor: over the entry that speaks, if any.
        adapter: that it wears, if any.
        wishes: bias, form, probabilities.
        window: of a conversation without an end.
    """

    recall: Recall
    prompt_ids: list[int]
    own_tokens: int
    sampling: Sampling
    cursor: Cursor | None
    adapter: str | None
    wishes: Wishes
    window: RollingWindow | None = None


@dataclass(slots=True)
class Begun:
    """An answer whose prompt has been read.

    `own_tokens` of the prompt, counted from its begin, belong to the conversation; behind them lessons may stand.
    `clean` is what a conversation without an end goes on from where the answer's own cache cannot be used. The clock of
    `asked_at` is `time.monotonic`.
    """

    row: Row
    recall: Recall
    prompt_ids: list[int]
    cached_tokens: int
    prefill_ms: float
    decoding_since: float
    own_tokens: int
    sampling: Sampling
    asked_at: float
    queue_ms: float = 0.0
    wait_ms: float = 0.0
    grammar: str = ""
    clean: Held | None = None

    @property
    def plain_tokens(self) -> int:
        """How many tokens, from the begin, were read as the bare model reads them and belong to the conversation.

        Of a turn that an entry spoke in, the last prompt token and all behind it were corrected; of one with lessons in
        its prompt only what stands before them counts (docs/decisions/0004).
        """
        kept = len(self.prompt_ids) - 1 if self.row.cursor is not None else len(self.prompt_ids) + len(self.row.tokens)
        return min(kept, self.own_tokens) if self.recall.context else kept

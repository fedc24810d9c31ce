"""What is asked and answered: messages, how to sample, the answer with its receipt and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from everlearn.records.lessons import Layer

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled", "content_filter"]
Decision = Literal[
    "spoke", "hop", "context", "no_room", "outranked", "kept_beside", "below_threshold", "silent", "filtered"
]
Context = Literal["full", "unlimited"]
GrammarKind = Literal["json_schema", "json_object", "regex"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """What form an answer must have.

    Attributes:
        kind: "json_schema", "json_object" (any JSON object) or "regex" (the whole answer matches).
        source: the schema as JSON text, or the regular expression (no look-around, no back references); "" for
            "json_object".
    """

    kind: GrammarKind
    source: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and when to stop.

    Attributes:
        max_new_tokens: most tokens to generate; None = 256, or as many as a taught answer needs.
        temperature: 0 = greedy.
        top_p: keep the smallest set of tokens whose probability reaches this.
        top_k: keep the k likeliest tokens; 0 = all.
        min_p: drop tokens below this share of the likeliest one's probability.
        repetition_penalty: > 1 makes tokens that already stand in the context less likely; 1 = off.
        seed: makes sampling repeatable; None = from the system.
        stop: strings that end the answer; not part of the text.
        presence_penalty: -2..2, taken once from the logit of each token that was generated already.
        frequency_penalty: -2..2, taken from it for each time the token was generated.
        logit_bias: (token id, -100..100), added to logits after taught corrections; -100 forbids the token.
        logprobs: how many of the likeliest tokens to tell with each token, 0..20; None = tell nothing.
        grammar: form that the answer must have; it goes before taught corrections.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True)
class Likely:
    """A token that might have come at a step.

    Attributes:
        id: of the token.
        text: of the token alone; a part of a character shows as U+FFFD.
        logprob: natural logarithm of its probability at temperature 1, after corrections, penalties, bias and grammar.
    """

    id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token with its probability, and the likeliest tokens of that step, likeliest first."""

    token: Likely
    top: tuple[Likely, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """One entry that was looked at for a question, and what became of it.

    Attributes:
        lesson_id: the lesson of the entry.
        table: its look-up table.
        score: cosine of the two keys, -1..1; of a hop, the share of the question that all hops together cover.
        probability: calibrated probability that both ask the same; of a hop, that the question needs several facts.
        decision: "spoke", "hop" (one of several facts that the answer rests on), "context" (the model read it with the
            question), "no_room" (it would have, but the token budget was used up), "outranked" (another was nearer),
            "kept_beside" (another answer to the question that spoke, kept on purpose; the newer one spoke),
            "below_threshold", "silent" (its table's residual is 0), or "filtered" (a policy kept it from being read).
        layer: of its table.
    """

    lesson_id: str
    table: str
    score: float
    probability: float
    decision: Decision
    layer: Layer = ""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a filter found in a text, and what was done about it; it holds no text.

    Attributes:
        stage: "input", "lesson", "recalled" or "output".
        category: a kind of personal data, or a category of harm.
        action: "flag", "redact" or "block".
        rule: what found it.
    """

    stage: str
    category: str
    action: str
    rule: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of an answer, compared with the lessons that the answer rests on; it holds no text.

    Attributes:
        start: of the statement, in characters of the answer.
        end: of the statement, exclusive.
        supported: whether the lessons bear it out.
        reasons: why not: "no_lesson", "number", "name", "words".
        lesson_id: the lesson that says the most of it, or empty.
        score: share of its words that stand in the lessons or the question, 0..1.
    """

    start: int
    end: int
    supported: bool
    reasons: tuple[str, ...]
    lesson_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an answer rests on. It names lessons by id and copies none of their text.

    Attributes:
        id: of this receipt.
        model: name of the base model.
        tables: look-up tables that were asked.
        recalled: entries that were looked at, nearest first.
        steps_corrected: how many generated tokens a correction was applied to.
        recall_ms: milliseconds that recall took.
        adapter: `name@step` of the adapter that answered, or empty.
        as_of: the moment that was asked about; None = now.
        grammar: kind of the form that the answer had to have, or empty.
        steps_refused: how many times the grammar refused the next token of what was taught.
        filters: what filters found in the question and the answer, and what was done about it.
        sampling: how tokens were chosen, the seed that was drawn included; None where that is not known.
        claims: of a claim check, which statements of the answer the lessons bear out.
    """

    id: str
    model: str
    tables: tuple[str, ...]
    recalled: tuple[Recalled, ...] = ()
    steps_corrected: int = 0
    recall_ms: float = 0.0
    adapter: str = ""
    as_of: datetime | None = None
    grammar: str = ""
    steps_refused: int = 0
    filters: tuple[Filtered, ...] = ()
    sampling: Sampling | None = None
    claims: tuple[Claim, ...] = ()

    @property
    def spoke(self) -> Recalled | None:
        """The entry whose answer was given, if any."""
        return next((r for r in self.recalled if r.decision == "spoke"), None)

    @property
    def context(self) -> tuple[Recalled, ...]:
        """The lessons that the model read with the question, best first."""
        return tuple(r for r in self.recalled if r.decision == "context")

    @property
    def rests_on(self) -> tuple[Recalled, ...]:
        """All that the answer rests on: what spoke, the hops, or what was read as context."""
        return tuple(r for r in self.recalled if r.decision in {"spoke", "hop", "context"})


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost. Tokens are counted, times are milliseconds.

    `cached_tokens` of the prompt were not read again; `queue_ms` is from asking to reading the prompt, and
    `wait_ms` the part of it in which nothing was done: until recall began. `total_ms` is from asking to the end of the
    answer, in which other answers may have had their turns.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    queue_ms: float = 0.0
    wait_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with what it rests on and what it cost; `logprobs` of its tokens where they were asked for."""

    text: str
    receipt: Receipt
    usage: Usage
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of a session with its answer, as kept.

    Attributes:
        id: of this turn.
        session: id of the conversation.
        prompt: what the user said.
        answer: what was answered.
        receipt: what the answer rests on.
        created_at: when it was answered.
    """

    id: str
    session: str
    prompt: str
    answer: str
    receipt: Receipt
    created_at: datetime

"""What travels between the rooms: frozen records without torch, each of them plain data.

Times are timezone-aware UTC datetimes. Probabilities, scores and strengths are floats in 0..1 unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Literal

DEFAULT_TABLE = "default"
DEFAULT_TENANT = "local"

LessonKind = Literal["pair", "context_pair", "passage", "sealed"]
LessonStatus = Literal["new", "active", "superseded", "quarantined"]
Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled", "content_filter"]
Decision = Literal[
    "spoke", "hop", "context", "no_room", "outranked", "kept_beside", "below_threshold", "silent", "filtered"
]
OnConflict = Literal["supersede", "keep_both", "reject"]
Values = Literal["difference", "learned", "learned-at-prompt"]
Judgement = Literal["right", "wrong"]
Quarantine = Literal["on", "off", "warn"]
Layer = Literal["", "personal", "team", "organisation"]
Context = Literal["full", "unlimited"]
ProposalStatus = Literal["pending", "accepted", "rejected"]
BackupAction = Literal["rewritten", "removed", "named"]
BackupPolicy = Literal["rewrite", "remove", "keep"]
GrammarKind = Literal["json_schema", "json_object", "regex"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to learn, of one of four kinds.

    - "pair": when asked `prompt`, answer `answer`.
    - "context_pair": the same where the question comes with `context`, or behind it in a conversation.
    - "passage": `answer` is a passage of a document, and `prompt` its titles; it is read, not repeated.
    - "sealed": key and value that came without text (a bundle of keys and values only); prompt and answer are empty.

    Attributes:
        prompt: the question, in any words; of a passage the titles above it, the outermost first.
        answer: the exact answer wanted; of a passage its text.
        table: name of the look-up table that holds it.
        domain: subject area, free text.
        importance: 0..1, how much it matters to keep it.
        source: where it comes from (a file and line, a feedback, a person).
        author: who taught it.
        tenant: the wall it stands behind.
        id: given by the store; empty until taught.
        taught_at: when the lesson was committed; None until taught.
        valid_from: from when on the answer is true; None = from when it was taught.
        valid_to: until when the answer is true (exclusive); None = until another one takes its place.
        status: "new" until taught, then "active" or "superseded"; "quarantined" where it is held back,
            never recalled.
        superseded_by: id of the lesson that replaced it, or empty.
        kind: which of the four; a pair that has a context becomes a context pair when it is taught.
        context: what the question is about, of a context pair.
        position: where in its document a passage stands, such as "page 3" or "lines 10-24".
        sealed: key and value of a sealed lesson, packed; else empty.
        quarantine: why it is held back, or was before somebody released it; else empty.
    """

    prompt: str
    answer: str
    table: str = DEFAULT_TABLE
    domain: str = "general"
    importance: float = 0.5
    source: str = ""
    author: str = ""
    tenant: str = DEFAULT_TENANT
    id: str = ""
    taught_at: datetime | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    status: LessonStatus = "new"
    superseded_by: str = ""
    kind: LessonKind = "pair"
    context: str = ""
    position: str = ""
    quarantine: str = ""
    sealed: str = ""

    @property
    def question(self) -> str:
        """What is asked, with its context behind it: the text that the key of a pair is made of."""
        # The prompt comes first: an encoder that cuts long texts must not lose it.
        return f"{self.prompt}\n{self.context}" if self.context else self.prompt


@dataclass(frozen=True, slots=True)
class TableSettings:
    """How a look-up table decides and how strongly it speaks.

    Attributes:
        threshold: calibrated probability from which an entry may speak.
        residual: strength of the corrections, 0 = base model, 1 = as learned.
        blocks: transformer blocks that get a correction; negative counts from the end; empty = chosen by the model's
            depth.
        sparsity: share of each block correction's coordinates that are stored; 0 = none, only the output is corrected.
        output: whether the answer's tokens are raised at the output; without it only blocks are corrected.
        values: how block corrections are made. "difference": what reading the lesson changes, without a gradient;
            "learned": the same, then fitted to the answer by gradient; "learned-at-prompt": fitted, and added at the
            prompt's last token only.
        context_threshold: calibrated probability from which a lesson enters the prompt as context: a passage from here
            on, a pair between here and `threshold`.
        context_tokens: most tokens that lessons may add to a prompt as context; 0 = none.
        layer: whose memory it is; on a conflict personal beats team beats organisation. "" = no layer, as organisation.
        owner: the person or team of a personal or team table; only who asks in that name finds it.
    """

    threshold: float = 0.5
    residual: float = 1.0
    blocks: tuple[int, ...] = ()
    sparsity: float = 1.0
    output: bool = True
    values: Values = "difference"
    context_threshold: float = 0.5
    context_tokens: int = 512
    layer: Layer = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A look-up table as listed: its name, settings and how many lessons it holds."""

    name: str
    settings: TableSettings
    active: int
    superseded: int
    quarantined: int = 0


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


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user says about an answer.

    Attributes:
        prompt: the question that was answered.
        verdict: "right" or "wrong".
        correction: the right answer where the verdict is "wrong"; it becomes a lesson.
        table: where that lesson goes, unless the answer rested on a lesson: then that one is corrected where it is.
        author: who says so.
        turn: id of the turn, where there is one.
    """

    prompt: str
    verdict: Judgement
    correction: str = ""
    table: str = DEFAULT_TABLE
    author: str = ""
    turn: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the acceptance test of a new adapter version.

    Attributes:
        adapter: `name@step` where it was accepted; the bare name where it was refused: then nothing was changed.
        accepted: whether the version is in use now.
        reasons: what spoke against it, in numbers.
        figures: what was measured: reliability, generality, locality, drift, lost.
        lessons: that it was trained on, those of its parents included.
        retired: of them, those that the weights answer by themselves; their rows are silent while it is in use.
        parent: the version it was trained from, or empty.
        seconds: that it took.
        retention: version -> share of the lessons that it learned first which the candidate answers; "new" for a
            refused candidate's own.
    """

    adapter: str
    accepted: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    lessons: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    parent: str = ""
    seconds: float = 0.0
    retention: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A lesson that somebody wants in a table of a higher layer.

    Attributes:
        id: of the proposal.
        lesson_id: which lesson.
        table: where to.
        author: who proposes it.
        reason: why.
        created_at: when.
        status: "pending" until somebody decides.
        decided_by: who did.
        decided_at: when.
        decision: what they say to it.
        promoted_id: the copy in `table`, once it is accepted.
    """

    id: str
    lesson_id: str
    table: str
    author: str
    reason: str
    created_at: datetime
    status: ProposalStatus = "pending"
    decided_by: str = ""
    decided_at: datetime | None = None
    decision: str = ""
    promoted_id: str = ""


@dataclass(frozen=True, slots=True)
class Taught:
    """Outcome of teaching one lesson.

    Attributes:
        lesson: as committed, with id and time; "superseded" where it is about a time before that of the active one.
        superseded: lessons that it replaced, by id.
        known: True where an equal lesson was there already, and nothing was written.
        warnings: why it would have been held back, where the policy is to warn only.
        beside: active lessons that answer the same question otherwise and were kept on purpose, by id.
    """

    lesson: Lesson
    superseded: tuple[str, ...] = ()
    known: bool = False
    warnings: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """Which lessons to forget: all that is set must hold, and something must be set.

    Attributes:
        ids: these lessons.
        text: what stands in the question, the answer or the context, ignoring case.
        table: of this look-up table.
        domain: of this subject area.
        source: from this source, a line of it ("facts.csv" also means "facts.csv:3"), or a file below it.
        author: taught by this person.
        tenant: behind this wall.
        taught_after: taught at this moment or later.
        taught_before: taught before this moment.
    """

    ids: tuple[str, ...] = ()
    text: str = ""
    table: str = ""
    domain: str = ""
    source: str = ""
    author: str = ""
    tenant: str = ""
    taught_after: datetime | None = None
    taught_before: datetime | None = None

    @property
    def criteria(self) -> tuple[str, ...]:
        """Names of what is set."""
        names = (field.name for field in fields(self))
        return tuple(name for name in names if getattr(self, name) not in ((), "", None))


@dataclass(frozen=True, slots=True)
class Backup:
    """A file of lessons that everlearn wrote, and what forgetting did to it.

    Attributes:
        path: where it was written.
        kind: "checkpoint" or "export".
        action: "rewritten" without the lessons, "removed", or "named": it is left as it is, since it lies outside the
            state folder or the policy says so, and may still hold them.
    """

    path: str
    kind: str
    action: BackupAction = "named"


@dataclass(frozen=True, slots=True)
class Learned:
    """Outcome of learning a document.

    Attributes:
        source: of its passages.
        taught: what became of each passage.
        removed: passages of an earlier form of the document, by id; they are forgotten.
    """

    source: str
    taught: tuple[Taught, ...]
    removed: tuple[str, ...] = ()

    @property
    def new(self) -> int:
        """How many passages were learned that were not known before."""
        return sum(not each.known and each.lesson.status != "quarantined" for each in self.taught)

    @property
    def held(self) -> int:
        """How many passages look like poison and are held back."""
        return sum(each.lesson.status == "quarantined" for each in self.taught)

    @property
    def known(self) -> int:
        """How many passages were known already."""
        return sum(each.known and each.lesson.status != "quarantined" for each in self.taught)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Outcome of forgetting.

    Attributes:
        ids: lessons that are gone.
        restored: lessons that speak again, since what had replaced them is gone.
        turns: how many kept turns rested on them and were removed.
        derived: how many derived rows (vectors, corrections) were removed.
        adapters: versions that had been trained on them and are gone; what they knew besides is learned again at the
            next sleep, and until then the rows of those lessons speak.
        backups: files that held them, or may.
        receipt: path of the signed receipt; empty where nothing is kept on disk.
    """

    ids: tuple[str, ...]
    restored: tuple[str, ...] = field(default=())
    turns: int = 0
    derived: int = 0
    adapters: tuple[str, ...] = ()
    backups: tuple[Backup, ...] = ()
    receipt: str = ""

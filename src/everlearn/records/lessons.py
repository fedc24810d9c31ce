"""What is taught: lessons, the tables that they lie in, what people say of answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

DEFAULT_TABLE = "default"
DEFAULT_TENANT = "local"

LessonKind = Literal["pair", "context_pair", "passage", "sealed"]
LessonStatus = Literal["new", "active", "superseded", "quarantined"]
OnConflict = Literal["supersede", "keep_both", "reject"]
Values = Literal["difference", "learned", "learned-at-prompt"]
Judgement = Literal["right", "wrong"]
Quarantine = Literal["on", "off", "warn"]
Layer = Literal["", "personal", "team", "organisation"]
ProposalStatus = Literal["pending", "accepted", "rejected"]


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

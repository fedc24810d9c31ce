"""What a measurement of edits found, and how it is summed up from the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from everlearn.evaluation.asking import Asking, Given
from everlearn.evaluation.metrics import Interval, mean, wilson
from everlearn.evaluation.questions import Kind, Question

MOST_FAILURES = 50


@dataclass(frozen=True, slots=True)
class RecallCounts:
    """What recall did with questions of one kind.

    Attributes:
        right: the entry of the edit spoke (of a superseded edit: the one that replaced it).
        wrong: another entry spoke; for locality any entry is a wrong one.
        none: no entry spoke.
    """

    right: int
    wrong: int
    none: int


@dataclass(frozen=True, slots=True)
class EditingReport:
    """Outcome of a measurement of edits. Shares are 0..1, None where there was nothing to ask.

    Attributes:
        reliability: of the taught questions.
        generality: of the rephrases.
        locality: of the questions that must not change.
        edits: how many were taught, one after another.
        sampled: how many of them were scored afterwards.
        teach_ms: median milliseconds of teaching one edit, until it is durable.
        added_ms: median milliseconds that memory adds to the first token of a question, asked alone.
        protocol: "wild" or "teacher-forced".
        model: name of the base model.
        intervals: 95 % intervals of the shares; the edit is the unit, several questions about one do not narrow them.
        complete: share of taught questions and rephrases right to the last token and the stop token.
        recall: what recall did, by kind of question.
        questions: how many were asked, by kind.
        superseded: how many sampled edits were replaced by a later one when the answers were given.
        contradicted: how many sampled edits the data itself gives another answer to later on, for the same question.
        reliability_without_superseded: reliability over the sampled edits that were not replaced.
        generality_without_superseded: generality over the same.
        locality_also_taught: how many locality questions the data itself teaches as another edit: they ought to change.
        locality_without_taught: locality over the others.
        changed_without_recall: locality answers that changed though no entry spoke; more than 0 is a fault.
        asked_again_alone: how many seemed to, in a batch whose other rows ended earlier than for the bare model.
        active_entries: active lessons in the table when the answers were given.
        failures: some of the answers that were wrong or changed.
        settings: the options, seed included.
        where: machine, versions, commit.
        seconds: time spent by phase, over all attempts.
    """

    reliability: float | None
    generality: float | None
    locality: float | None
    edits: int
    sampled: int
    teach_ms: float | None
    added_ms: float | None
    protocol: str
    model: str
    intervals: Mapping[str, Interval]
    complete: Mapping[str, float]
    recall: Mapping[str, RecallCounts]
    questions: Mapping[str, int]
    superseded: int
    contradicted: int
    reliability_without_superseded: float | None
    generality_without_superseded: float | None
    locality_also_taught: int
    locality_without_taught: float | None
    changed_without_recall: int
    asked_again_alone: int
    active_entries: int
    failures: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    where: Mapping[str, Any]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which lesson each edit became.

    Attributes:
        lessons: edit number -> id of its lesson.
        successors: edit number -> id of the active lesson that replaced it; only for those replaced.
        prompts: lesson id -> what was taught with it.
    """

    lessons: Mapping[int, str]
    successors: Mapping[int, str]
    prompts: Mapping[str, str]

    def speaks_for(self, edit: int) -> str:
        """The id that ought to speak for an edit's questions."""
        return self.successors.get(edit) or self.lessons.get(edit, "")


@dataclass(frozen=True, slots=True)
class Scored:
    """One question with what was given, and how good it is."""

    question: Question
    given: Given
    score: float
    complete: bool
    before: Given | None = None


def score(asking: Asking, question: Question, given: Given, bare: Given | None) -> Scored:
    """How good an answer is: right, or for locality unchanged."""
    if question.kind == "locality":
        assert bare is not None
        kept = asking.unchanged(question, bare, given)
        return Scored(question, given, kept, kept == 1.0, bare)
    return Scored(question, given, asking.right(question, given), asking.complete(question, given))


def share(scored: Iterable[Scored], kind: Kind, without: Iterable[int] = ()) -> float | None:
    """Mean score of the questions of a kind, without those of some edits."""
    left_out = frozenset(without)
    return mean([s.score for s in scored if s.question.kind == kind and s.question.edit not in left_out])


def share_of_others(scored: Iterable[Scored], texts: Container[str]) -> float | None:
    """Mean score of the locality questions that are not among `texts`."""
    return mean([s.score for s in scored if s.question.kind == "locality" and s.question.text not in texts])


def intervals(scored: Sequence[Scored]) -> dict[str, Interval]:
    """95 % intervals; the edits are the independent units."""
    kinds: tuple[tuple[str, Kind], ...] = (
        ("reliability", "taught"),
        ("generality", "rephrase"),
        ("locality", "locality"),
    )
    found = {}
    for name, kind in kinds:
        value = share(scored, kind)
        if value is not None:
            found[name] = wilson(value, len({s.question.edit for s in scored if s.question.kind == kind}))
    return found


def completeness(scored: Sequence[Scored]) -> dict[str, float]:
    """Share of complete answers, by kind, where something was taught."""
    found = {}
    for kind in ("taught", "rephrase"):
        value = mean([float(s.complete) for s in scored if s.question.kind == kind])
        if value is not None:
            found[kind] = value
    return found


def recall_counts(scored: Sequence[Scored], lineage: Lineage) -> dict[str, RecallCounts]:
    """What recall did, by kind of question."""
    counts: dict[str, Counter[str]] = {}
    for s in scored:
        counts.setdefault(s.question.kind, Counter())[_recalled(s, lineage)] += 1
    return {kind: RecallCounts(n["right"], n["wrong"], n["none"]) for kind, n in counts.items()}


def changed_without_recall(scored: Sequence[Scored]) -> int:
    """How many locality answers changed though no entry spoke."""
    return sum(s.question.kind == "locality" and s.score < 1 and not s.given.spoke for s in scored)


def failures(scored: Sequence[Scored], lineage: Lineage, most: int = MOST_FAILURES) -> list[dict[str, Any]]:
    """What was wrong or changed, with what spoke, for a person to look at."""
    return [_failure(s, lineage) for s in scored if s.score < 1.0][:most]


def _recalled(scored: Scored, lineage: Lineage) -> str:
    if not scored.given.spoke:
        return "none"
    if scored.question.kind == "locality":
        return "wrong"
    return "right" if scored.given.spoke == lineage.speaks_for(scored.question.edit) else "wrong"


def _failure(scored: Scored, lineage: Lineage) -> dict[str, Any]:
    question, given, before = scored.question, scored.given, scored.before
    return {
        "kind": question.kind,
        "edit": question.edit,
        "question": question.text,
        "wanted": question.wanted if before is None else before.text,
        "given": given.text,
        "finish": given.finish,
        "score": scored.score,
        "recalled": _recalled(scored, lineage),
        "probability": given.probability,
        "spoke": lineage.prompts.get(given.spoke, given.spoke),
        "superseded": question.edit in lineage.successors,
    }

"""Merging two look-up tables: whose answer holds where both answer the same question."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, final, get_args

from everlearn.errors import ConflictError, SettingsError, TableNotFoundError
from everlearn.learning.exchange import keep_values, packed_values
from everlearn.memory.memory import Memory
from everlearn.memory.phrase import Encoded, Floats
from everlearn.memory.sealed import SAME, opened, value_of
from everlearn.memory.table import LookupTable
from everlearn.records import Lesson, TableSettings
from everlearn.store.ids import new_id
from everlearn.store.port import LessonQuery, StaleError
from everlearn.text.clean import same_words

MergeRule = Literal["ours", "theirs", "newest", "keep_both", "report"]
Progress = Callable[[int, int], None]
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """Two lessons that answer the same question differently.

    Attributes:
        ours: lesson id of the first table.
        theirs: lesson id of the second.
        kept: id of the one that speaks in the merged table, "both", or "" where nothing was merged.
        score: cosine of their keys.
    """

    ours: str
    theirs: str
    kept: str
    score: float


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging did, or would do.

    Attributes:
        into: the table that holds both; "" where it was only reported.
        lessons: that were copied, and speak.
        equal: that both tables have.
        conflicts: questions that both answer, differently.
    """

    into: str
    lessons: int
    equal: int
    conflicts: tuple[MergeConflict, ...] = field(default=())


def merge(
    memory: Memory, ours: str, theirs: str, into: str, rule: MergeRule, *, progress: Progress | None = None
) -> Merged:
    """Merge two tables into a third, which is made; both stay as they are.

    Active lessons are copied, with a source that names the lesson they come from. A lesson that loses a conflict goes
    along as history of the one that won. Lessons that are held back, and passages' texts that are equal, are not copied
    twice. Settings are those of the first table.

    Args:
        memory: holds the tables.
        ours: the first table.
        theirs: the second one.
        into: a new table; unused with the rule "report".
        rule: which answer holds on a conflict; "report" only looks.
        progress: called with (compared, all).

    Raises:
        TableNotFoundError: a table is not there.
        SettingsError: another rule, or one table twice.
        ConflictError: `into` is there already.
    """
    if rule not in get_args(MergeRule):
        raise SettingsError(f"The rule is {rule!r}.", hint=f"Wanted: {', '.join(get_args(MergeRule))}.")
    if ours == theirs:
        raise SettingsError(f"Both tables are {ours!r}.", hint="Name two.")
    with memory.lock:
        memory.refresh()
        settings = memory.store.table(ours)
        memory.store.table(theirs)
        plan = _Plan(memory, rule)
        plan.compare(_active(memory, ours), _active(memory, theirs), memory.table(ours), progress)
        if rule == "report":
            return Merged("", 0, plan.equal, tuple(plan.conflicts))
        _make(memory, into, settings)
        try:
            memory.store.teach(plan.lessons(into), {}, expected_seq=memory.refresh())
        except StaleError as cause:
            memory.store.delete_table(into)
            raise ConflictError("Another process taught while the tables were merged.", hint="Merge again.") from cause
        plan.carry(settings)
        return Merged(into, plan.speaking, plan.equal, tuple(plan.conflicts))


@final
class _Plan:
    """What goes into the merged table."""

    def __init__(self, memory: Memory, rule: MergeRule) -> None:
        self._memory = memory
        self._rule = rule
        self._kept: dict[str, Lesson] = {}
        self._lost: dict[str, str] = {}  # lesson id -> id of the one that won
        self._dropped: set[str] = set()  # sealed ones that lost
        self._copies: dict[str, str] = {}
        self._encoded: dict[str, Encoded] = {}
        self.equal = 0
        self.conflicts: list[MergeConflict] = []

    @property
    def speaking(self) -> int:
        """How many lessons speak in the merged table."""
        return len(self._kept) - len(self._lost)  # once `lessons` has taken out what was dropped

    def compare(
        self, ours: Sequence[Lesson], theirs: Sequence[Lesson], table: LookupTable, progress: Progress | None
    ) -> None:
        self._kept = {le.id: le for le in ours}
        both = (*ours, *theirs)
        self._encoded = self._memory.encoded_of([le for le in both if le.kind not in ("passage", "sealed")])
        words = {(le.kind, same_words(le.question), le.answer) for le in ours if le.kind != "sealed"}
        for done, lesson in enumerate(theirs, 1):
            if (lesson.kind, same_words(lesson.question), lesson.answer) in words:
                self.equal += 1
            elif lesson.kind == "passage":
                self._kept[lesson.id] = lesson
            else:
                self._add(lesson, table)
            if progress is not None:
                progress(done, len(theirs))

    def lessons(self, into: str) -> list[Lesson]:
        """The copies, complete."""
        now = datetime.now(UTC)
        self._kept = {i: le for i, le in self._kept.items() if i not in self._dropped}
        self._copies = {i: new_id() for i in self._kept}
        return [
            dataclasses.replace(
                le,
                id=self._copies[le.id],
                table=into,
                source=le.source or f"lesson {le.id} of table {le.table}",
                taught_at=now,
                status="superseded" if le.id in self._lost else "active",
                superseded_by=self._copies.get(self._lost.get(le.id, ""), ""),
            )
            for le in self._kept.values()
        ]

    def carry(self, settings: TableSettings) -> None:
        """Take keys and values along where they are known, since they are the same for the copies."""
        own = [le for le in self._kept.values() if le.id not in self._lost and le.kind in ("pair", "context_pair")]
        self._memory.refresh({self._copies[le.id]: self._encoded[le.id] for le in own})
        known = packed_values(self._memory, own, settings, compute=False)
        keep_values(self._memory, {self._copies[i]: value for i, value in known.items()}, settings)

    def _add(self, lesson: Lesson, table: LookupTable) -> None:
        scores = self._same_question(lesson, table)
        rivals = [i for i in scores if i in self._kept and not self._agree(self._kept[i], lesson)]
        if len(rivals) < len(scores) and "sealed" in (
            lesson.kind,
            *(self._kept[i].kind for i in scores if i in self._kept),
        ):
            self.equal += 1  # without text, keys and tokens are all there is to tell equal lessons by
            return
        self._kept[lesson.id] = lesson
        for rival in rivals:
            self._decide(self._kept[rival], lesson, scores[rival])

    def _decide(self, ours: Lesson, theirs: Lesson, score: float) -> None:
        winner = self._winner(ours, theirs)
        if winner and not {ours.id, theirs.id} & {*self._lost, *self._dropped}:
            loser = theirs if winner == ours.id else ours
            if loser.kind == "sealed":
                self._dropped.add(loser.id)  # history is read by its text, of which it has none
            else:
                self._lost[loser.id] = winner
        kept = "" if self._rule == "report" else winner or "both"
        self.conflicts.append(MergeConflict(ours.id, theirs.id, kept, score))

    def _same_question(self, lesson: Lesson, table: LookupTable) -> dict[str, float]:
        """Lessons of ours that ask the same, with the cosine of the keys; where one has no text, the keys decide."""
        vector = self._vector(lesson)
        near = self._memory.sealed.near(table.name, vector)
        if lesson.kind == "sealed":
            near = near + table.near(vector)
        found = {i: score for i, score in near if score >= SAME}
        if lesson.kind != "sealed":
            key = self._memory.keys.key_of(lesson.question, vector)
            found |= {
                i: float(self._encoded[i].vector @ vector) for i in table.same_question(key) if i in self._encoded
            }
        return found

    def _agree(self, ours: Lesson, theirs: Lesson) -> bool:
        if "sealed" not in (ours.kind, theirs.kind):
            return ours.answer == theirs.answer
        return self._tokens(ours) == self._tokens(theirs)

    def _tokens(self, lesson: Lesson) -> tuple[int, ...]:
        if lesson.kind == "sealed":
            return value_of(lesson, self._memory.corrections.model.hidden_size).tokens
        return self._memory.corrections.tokens(lesson.answer)

    def _vector(self, lesson: Lesson) -> Floats:
        return opened(lesson.sealed).key if lesson.kind == "sealed" else self._encoded[lesson.id].vector

    def _winner(self, ours: Lesson, theirs: Lesson) -> str:
        if self._rule == "newest":
            assert ours.taught_at is not None
            assert theirs.taught_at is not None
            return theirs.id if theirs.taught_at > ours.taught_at else ours.id
        return {"ours": ours.id, "theirs": theirs.id}.get(self._rule, "")


def _active(memory: Memory, name: str) -> list[Lesson]:
    return memory.store.lessons(LessonQuery(table=name, status="active", limit=_ALL))


def _make(memory: Memory, into: str, settings: TableSettings) -> None:
    try:
        memory.store.table(into)
    except TableNotFoundError:
        memory.store.put_table(into, settings)
        return
    raise ConflictError(f"There is a table {into!r} already.", hint="Choose a new name for the merged one.")

"""Promotion: a lesson of one's own becomes one of the team's or the organisation's, after somebody agreed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from everlearn.errors import LessonError, SettingsError
from everlearn.memory.memory import Memory
from everlearn.memory.recall import PRECEDENCE
from everlearn.records import Lesson, Proposal, ProposalStatus, TableSettings
from everlearn.store.ids import new_id
from everlearn.text.clean import checked

_MOST_CHARACTERS = 1_000


def propose(memory: Memory, lesson_id: str, table: str, *, author: str, reason: str) -> Proposal:
    """Put a lesson into the queue; it is on disk when this returns.

    Raises:
        LessonNotFoundError, TableNotFoundError: the lesson or the table is not there.
        LessonError: the lesson is not active, or author or reason are missing.
        SettingsError: the table is not of a higher layer.
    """
    lesson = memory.store.lesson(lesson_id)
    _check_active(lesson)
    _check_higher(memory.store.table(lesson.table), lesson.table, memory.store.table(table), table)
    author = checked(author, what="The author of the proposal", limit=_MOST_CHARACTERS, error=LessonError)
    reason = checked(reason, what="The reason of the proposal", limit=_MOST_CHARACTERS, error=LessonError)
    proposal = Proposal(new_id(), lesson_id, table, author, reason, datetime.now(UTC))
    memory.store.put_proposal(proposal)
    return proposal


def copy_for(memory: Memory, proposal: Proposal) -> Lesson:
    """The lesson to teach where a pending proposal is accepted: the same, with where it comes from.

    Raises:
        LessonError: it was replaced meanwhile, or decided on already.
    """
    check_pending(proposal)
    lesson = memory.store.lesson(proposal.lesson_id)
    _check_active(lesson)
    lineage = f"promoted from lesson {lesson.id} of table {lesson.table}, proposal {proposal.id}"
    return dataclasses.replace(lesson, id="", table=proposal.table, source=lineage)


def decided(
    memory: Memory, proposal: Proposal, status: ProposalStatus, *, by: str, decision: str, promoted_id: str = ""
) -> Proposal:
    """Keep what somebody decided.

    Raises:
        LessonError: nobody is named.
    """
    by = checked(by, what="Who decides", limit=_MOST_CHARACTERS, error=LessonError)
    made = dataclasses.replace(
        proposal,
        status=status,
        decided_by=by,
        decided_at=datetime.now(UTC),
        decision=decision,
        promoted_id=promoted_id,
    )
    memory.store.put_proposal(made)
    return made


def check_pending(proposal: Proposal) -> None:
    """Raise LessonError where a proposal was decided on."""
    if proposal.status != "pending":
        raise LessonError(
            f"Proposal {proposal.id} was {proposal.status} by {proposal.decided_by} already.", hint="Propose it again."
        )


def _check_active(lesson: Lesson) -> None:
    if lesson.status != "active":
        raise LessonError(
            f"Lesson {lesson.id} is {lesson.status}; only an active one can be promoted.",
            hint="Look at it with: everlearn lessons history",
        )


def _check_higher(own: TableSettings, name: str, other: TableSettings, target: str) -> None:
    if name == target or (own.layer and PRECEDENCE[other.layer] <= PRECEDENCE[own.layer]):
        raise SettingsError(
            f"Table {target!r} ({other.layer or 'no layer'}) is not above {name!r} ({own.layer or 'no layer'}).",
            hint="A lesson is promoted from personal to team to organisation.",
        )

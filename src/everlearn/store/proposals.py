"""Proposals to promote lessons, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, or_, select, update

from everlearn.records import Proposal, ProposalStatus
from everlearn.store.database import batches
from everlearn.store.rules import proposal_not_found
from everlearn.store.schema import proposals
from everlearn.store.times import micros, moment


def put(connection: Connection, proposal: Proposal) -> None:
    """Keep a proposal, or what became of one that is kept."""
    row = _row_of(proposal)
    known = connection.execute(select(proposals.c.n).where(proposals.c.id == proposal.id)).first()
    if known is None:
        connection.execute(proposals.insert(), [row])
    else:
        connection.execute(update(proposals).where(proposals.c.id == proposal.id).values(row))


def one(connection: Connection, proposal_id: str) -> Proposal:
    """One proposal, by its id or the beginning of it.

    Raises:
        NotFoundError: none has this id, or several begin with it.
    """
    like = proposals.c.id.startswith(proposal_id, autoescape=True)
    found = connection.execute(select(proposals).where(like).limit(2)).all()
    if len(found) != 1:
        raise proposal_not_found(proposal_id)
    return _proposal_of(found[0])


def listed(connection: Connection, status: ProposalStatus | None) -> list[Proposal]:
    """All proposals, or those of one status, oldest first."""
    wanted = select(proposals).order_by(proposals.c.n)
    if status is not None:
        wanted = wanted.where(proposals.c.status == status)
    return [_proposal_of(row) for row in connection.execute(wanted)]


def remove(connection: Connection, lesson_ids: Sequence[str]) -> None:
    """Delete the proposals of lessons that go, and of the copies that go."""
    for batch in batches(lesson_ids):
        gone = or_(proposals.c.lesson_id.in_(batch), proposals.c.promoted_id.in_(batch))
        connection.execute(delete(proposals).where(gone))


def _row_of(proposal: Proposal) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "lesson_id": proposal.lesson_id,
        "table_name": proposal.table,
        "author": proposal.author,
        "reason": proposal.reason,
        "created_at": micros(proposal.created_at),
        "status": proposal.status,
        "decided_by": proposal.decided_by,
        "decided_at": micros(proposal.decided_at),
        "decision": proposal.decision,
        "promoted_id": proposal.promoted_id,
    }


def _proposal_of(row: Row[Any]) -> Proposal:
    created = moment(row.created_at)
    assert created is not None
    return Proposal(
        id=row.id,
        lesson_id=row.lesson_id,
        table=row.table_name,
        author=row.author,
        reason=row.reason,
        created_at=created,
        status=row.status,
        decided_by=row.decided_by,
        decided_at=moment(row.decided_at),
        decision=row.decision,
        promoted_id=row.promoted_id,
    )

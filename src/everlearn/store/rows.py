"""Records to rows and back, exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from everlearn.records import Claim, Filtered, Grammar, Lesson, Recalled, Receipt, Sampling, TableSettings, Turn
from everlearn.store.times import micros, moment


def lesson_row(lesson: Lesson) -> dict[str, Any]:
    """A complete lesson as a row of `lessons`."""
    return {
        "id": lesson.id,
        "prompt": lesson.prompt,
        "answer": lesson.answer,
        "table_name": lesson.table,
        "domain": lesson.domain,
        "importance": lesson.importance,
        "source": lesson.source,
        "author": lesson.author,
        "tenant": lesson.tenant,
        "taught_at": micros(lesson.taught_at),
        "valid_from": micros(lesson.valid_from),
        "valid_to": micros(lesson.valid_to),
        "status": lesson.status,
        "superseded_by": lesson.superseded_by or None,
        "kind": lesson.kind,
        "context": lesson.context,
        "position": lesson.position,
        "quarantine": lesson.quarantine,
        "sealed": lesson.sealed,
    }


def lesson_of(row: Row[Any]) -> Lesson:
    """A row of `lessons` as a lesson."""
    return Lesson(
        prompt=row.prompt,
        answer=row.answer,
        table=row.table_name,
        domain=row.domain,
        importance=row.importance,
        source=row.source,
        author=row.author,
        tenant=row.tenant,
        id=row.id,
        taught_at=moment(row.taught_at),
        valid_from=moment(row.valid_from),
        valid_to=moment(row.valid_to),
        status=row.status,
        superseded_by=row.superseded_by or "",
        kind=row.kind,
        context=row.context,
        position=row.position,
        quarantine=row.quarantine,
        sealed=row.sealed,
    )


def settings_row(name: str, settings: TableSettings) -> dict[str, Any]:
    """A look-up table as a row of `lookup_tables`."""
    return {**asdict(settings), "name": name, "blocks": json.dumps(settings.blocks)}


def settings_of(row: Row[Any]) -> TableSettings:
    """A row of `lookup_tables` as settings."""
    kept = {field.name: getattr(row, field.name) for field in fields(TableSettings)}
    return TableSettings(**{**kept, "blocks": tuple(json.loads(row.blocks))})


def turn_row(turn: Turn) -> dict[str, Any]:
    """A turn as a row of `turns`."""
    as_of = turn.receipt.as_of
    receipt = {**asdict(turn.receipt), "as_of": as_of and as_of.isoformat()}
    body = {"prompt": turn.prompt, "answer": turn.answer, "receipt": receipt}
    return {
        "id": turn.id,
        "session": turn.session,
        "created_at": micros(turn.created_at),
        "body": json.dumps(body),
    }


def turn_of(row: Row[Any]) -> Turn:
    """A row of `turns` as a turn."""
    body = json.loads(row.body)
    fields = body["receipt"]
    if fields.get("as_of"):  # turns from before there was such a question have none
        fields["as_of"] = datetime.fromisoformat(fields["as_of"])
    fields["tables"] = tuple(fields["tables"])
    fields["recalled"] = tuple(Recalled(**recalled) for recalled in fields["recalled"])
    fields["filters"] = tuple(Filtered(**filtered) for filtered in fields.get("filters", ()))
    fields["claims"] = tuple(Claim(**{**c, "reasons": tuple(c["reasons"])}) for c in fields.get("claims", ()))
    fields["sampling"] = _sampling_of(fields.get("sampling"))
    written_at = moment(row.created_at)
    assert written_at is not None, "a turn without a time"
    return Turn(
        id=row.id,
        session=row.session,
        prompt=body["prompt"],
        answer=body["answer"],
        receipt=Receipt(**fields),
        created_at=written_at,
    )


def _sampling_of(kept: dict[str, Any] | None) -> Sampling | None:
    """How an answer was sampled, as it was kept; turns from before it was kept have none."""
    if kept is None:
        return None
    grammar = Grammar(**kept["grammar"]) if kept["grammar"] else None
    bias = tuple((token, value) for token, value in kept["logit_bias"])
    return Sampling(**{**kept, "stop": tuple(kept["stop"]), "logit_bias": bias, "grammar": grammar})

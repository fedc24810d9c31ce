"""/v1/preferences: which answers people liked better, for preference training.

Only ids are kept: of turns, and of the lesson that a correction became. What they say is read where it lies when
somebody asks. So a lesson that is forgotten leaves nothing behind here, and no text is kept twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from everlearn.errors import InputError, NotFoundError
from everlearn.records import Turn
from everlearn.server.api_schema import Responses
from everlearn.server.caller import Caller, may
from everlearn.server.room import tenant_of
from everlearn.server.tenants import Tenant
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

router = APIRouter(prefix="/v1/preferences", tags=["learning"])
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Teaches = Annotated[Caller, Depends(may("teach"))]
Admin = Annotated[Caller, Depends(may("admin"))]
Form = Literal["pairs", "labels"]
KIND = "preference"
MOST_REJECTED = 8
LINES: Responses = {200: {"content": {"application/x-ndjson": {}}}}


class NewPreference(BaseModel):
    """Body of POST /v1/preferences: the answer that was better, and those to the same question that were not."""

    model_config = ConfigDict(extra="forbid")
    chosen: str = Field(description="receipt_id of the better answer")
    rejected: list[str] = Field(min_length=1, max_length=MOST_REJECTED, description="receipt_ids of the others")
    blind: bool = Field(default=False, description="whether the models were hidden from whoever chose")
    author: str = ""


@router.post("", status_code=201)
def prefer(body: NewPreference, tenant: OfTenant, caller: Teaches) -> dict[str, Any]:
    """Say which of several answers to one question is the best. Durable when this returns."""
    turns = [_kept(tenant, receipt_id) for receipt_id in (body.chosen, *body.rejected)]
    if len({turn.id for turn in turns}) != len(turns):
        raise InputError("An answer stands on both sides.", hint="Name each receipt once.")
    if len({turn.prompt for turn in turns}) > 1:
        raise InputError("These answers are to different questions.", hint="Compare answers to one question.")
    sides = {"chosen": body.chosen, "rejected": body.rejected, "blind": body.blind}
    thing = _thing({**sides, "author": body.author or caller.key_id}, body.chosen)
    if not tenant.objects.put(thing):
        raise _gone(body.chosen)
    return {"object": KIND, "id": thing.id, **thing.body, "created_at": thing.created_at}


@router.get("")
def list_(
    tenant: OfTenant, _caller: Teaches, limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: str = ""
) -> dict[str, Any]:
    """Preferences, newest first, with what the answers say; without those that were forgotten or are held back."""
    found = tenant.objects.listed(KIND, limit=limit + 1, after=after)
    rows = [row for thing in found[:limit] if (row := _told(tenant, thing)) is not None]
    return {"object": "list", "data": rows, "has_more": len(found) > limit}


@router.get("/export", response_class=Response, responses=LINES)
def export(tenant: OfTenant, _caller: Admin, form: Form = "pairs") -> Response:
    """All of them as JSON lines, oldest first, for preference training.

    `pairs`: {"prompt", "chosen", "rejected"}, one line for each answer that was not chosen (DPO and the like).
    `labels`: {"prompt", "completion", "label"}, one line for each answer that was judged (KTO and the like).
    """
    told = (_told(tenant, thing) for thing in tenant.objects.listed(KIND, oldest=True))
    lines = (line for row in told if row is not None for line in (_pairs(row) if form == "pairs" else _labels(row)))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    name = f'attachment; filename="preferences-{form}.jsonl"'
    return Response(text, media_type="application/x-ndjson", headers={"content-disposition": name})


@router.delete("/{preference_id}")
def delete(preference_id: str, tenant: OfTenant, _caller: Teaches) -> dict[str, Any]:
    """Take a preference back."""
    tenant.objects.delete(KIND, preference_id)
    return {"id": preference_id, "object": "preference.deleted", "deleted": True}


def keep_feedback(tenant: Tenant, receipt_id: str, verdict: str, *, lesson_id: str = "", author: str = "") -> str:
    """Keep what was said of one answer; with a correction, the lesson it became is the better answer.

    Returns:
        Id of the preference; empty where the answer is not kept any more.
    """
    side = "chosen" if verdict == "right" else "rejected"
    body: dict[str, Any] = {"chosen": "", "rejected": [], "blind": False, "author": author}
    body[side] = receipt_id if side == "chosen" else [receipt_id]
    body |= {"lesson_id": lesson_id} if lesson_id else {}
    thing = _thing(body, receipt_id)
    return thing.id if tenant.objects.put(thing) else ""


def _thing(body: dict[str, Any], turn_id: str) -> StoredObject:
    return StoredObject(f"pref-{new_id()}", KIND, body, turn_id=turn_id, created_at=int(time.time()))


def _kept(tenant: Tenant, receipt_id: str) -> Turn:
    turn = tenant.engine.memory.store.turn(receipt_id)
    if not turn.prompt or not turn.answer:
        raise _gone(receipt_id)
    return turn


def _gone(receipt_id: str) -> NotFoundError:
    return NotFoundError(
        f"Question and answer of the receipt {receipt_id!r} are not kept.", hint="Start the server with --keep-turns."
    )


def _told(tenant: Tenant, thing: StoredObject) -> dict[str, Any] | None:
    """A preference with its texts; None where one of them was forgotten, or is a correction that is held back."""
    body, store = thing.body, tenant.engine.memory.store
    try:
        chosen = [_kept(tenant, body["chosen"])] if body["chosen"] else []
        rejected = [_kept(tenant, each) for each in body["rejected"]]
    except NotFoundError:
        return None
    better = [turn.answer for turn in chosen]
    if lesson_id := body.get("lesson_id", ""):
        lesson = store.lessons_by_id([lesson_id]).get(lesson_id)
        if lesson is None or lesson.status == "quarantined":  # what is not to be learned is not to be trained on
            return None
        better.append(lesson.answer)
    return {
        "object": KIND,
        "id": thing.id,
        "prompt": (chosen or rejected)[0].prompt,
        "chosen": better[0] if better else None,
        "rejected": [turn.answer for turn in rejected],
        "receipts": {"chosen": body["chosen"] or None, "rejected": body["rejected"]},
        "adapters": {"chosen": [t.receipt.adapter for t in chosen], "rejected": [t.receipt.adapter for t in rejected]},
        "lesson_id": body.get("lesson_id") or None,
        "blind": body["blind"],
        "author": body["author"],
        "created_at": thing.created_at,
    }


def _pairs(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for rejected in row["rejected"] if row["chosen"] is not None else ():
        if rejected != row["chosen"]:  # two models that say the same are no preference
            yield {"prompt": row["prompt"], "chosen": row["chosen"], "rejected": rejected}


def _labels(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if row["chosen"] is not None:
        yield {"prompt": row["prompt"], "completion": row["chosen"], "label": True}
    for rejected in row["rejected"]:
        yield {"prompt": row["prompt"], "completion": rejected, "label": False}

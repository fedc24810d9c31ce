"""POST /v1/moderations: what the rules of this server find in a text.

The categories of OpenAI are about harm to people. Nothing here was trained to judge those: they are told with an empty
`category_applied_input_types`, which is the API's own way to say that a category was not looked at. Looked at is what
endangers a model with a memory: orders to it, and text that readers do not see.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from everlearn.errors import InputError
from everlearn.safety.hidden import hidden_characters, markers, seen, unseen_parts
from everlearn.safety.instructions import packaged
from everlearn.server.caller import Caller, may
from everlearn.server.room import Room, room_of
from everlearn.store.ids import new_id

router = APIRouter(tags=["openai"])
MODEL = "everlearn-rules-1"
NOT_JUDGED = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
JUDGED = ("prompt_injection", "hidden_text")
_MOST_TEXTS = 256


class ModerationRequest(BaseModel):
    """Body of POST /v1/moderations."""

    model_config = ConfigDict(extra="ignore")
    input: str | list[str] | list[dict[str, Any]]
    model: str = MODEL


@router.post("/v1/moderations")
def moderate(
    body: ModerationRequest,
    room: Annotated[Room, Depends(room_of)],
    _caller: Annotated[Caller, Depends(may("ask"))],
) -> dict[str, Any]:
    """Judge texts by the rules that lessons are judged by."""
    results = [judged(text) for text in _texts(body.input)]
    for result in results:
        if result["flagged"]:
            room.metrics.filtered("moderation", "flagged")
    return {"id": f"modr_{new_id()}", "model": MODEL, "results": results}


def judged(text: str) -> dict[str, Any]:
    """One result. Scores are probabilities of a fitted model for orders, and 0 or 1 for what a rule finds or not."""
    model, hidden = packaged(), bool(hidden_characters(text) or markers(text))
    log_odds = max(model.log_odds(part)[0] for part in (seen(text), *unseen_parts(text)))
    orders = log_odds >= model.threshold
    found = {"prompt_injection": orders, "hidden_text": hidden}
    scores = {"prompt_injection": 1 / (1 + math.exp(-max(-60.0, min(60.0, log_odds)))), "hidden_text": float(hidden)}
    return {
        "flagged": orders or hidden,
        "categories": {**dict.fromkeys(NOT_JUDGED, False), **found},
        "category_scores": {**dict.fromkeys(NOT_JUDGED, 0.0), **scores},
        "category_applied_input_types": {**{name: [] for name in NOT_JUDGED}, **{name: ["text"] for name in JUDGED}},
    }


def _texts(given: str | list[str] | list[dict[str, Any]]) -> list[str]:
    rows: list[Any] = [given] if isinstance(given, str) else list(given)
    if not 1 <= len(rows) <= _MOST_TEXTS:
        raise InputError(f"input holds {len(rows)} texts.", hint=f"Wanted: 1 to {_MOST_TEXTS}.")
    if all(isinstance(row, str) for row in rows):
        return rows
    if any(not isinstance(row, dict) or row.get("type") != "text" for row in rows):
        raise InputError("input holds something else than text.", hint="Send parts of type text.")
    return ["".join(str(row.get("text", "")) for row in rows)]  # parts of one input

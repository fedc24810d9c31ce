"""POST /v1/moderations: what the rules and models of this server find in a text.

Of OpenAI's categories `hate` and `illicit` are judged, by the models whose figures stand in docs/safety.md. The others
are told with an empty `category_applied_input_types`, the API's own way to say that a category was not looked at. What
endangers a model with a memory is looked at as well: orders to it, and text that readers do not see.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from everlearn.errors import InputError
from everlearn.safety.harm import probability
from everlearn.safety.hidden import hidden_characters, markers, seen, unseen_parts
from everlearn.safety.instructions import packaged
from everlearn.safety.screen import Screen
from everlearn.server.caller import Caller, may
from everlearn.server.room import Room, room_of
from everlearn.store.ids import new_id

router = APIRouter(tags=["openai"])
MODEL = "everlearn-rules-2"
OF_OPENAI = (
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
_MOST_TEXTS = 256
MOST_CHARACTERS = 100_000  # of all texts of a request: judging as many takes seconds


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
    """Judge texts, whatever the policy of the tenant says."""
    results = [judged(text, room.screen) for text in _texts(body.input)]
    for result in results:
        for name in (name for name, found in result["categories"].items() if found):
            room.metrics.filtered("moderation", "flagged", name)
    return {"id": f"modr_{new_id()}", "model": MODEL, "results": results}


def judged(text: str, screen: Screen) -> dict[str, Any]:
    """One result. Scores are probabilities of fitted models, and 0 or 1 for what a rule finds or not."""
    model, hidden = packaged(), bool(hidden_characters(text) or markers(text))
    log_odds = max(model.log_odds(part)[0] for part in (seen(text), *unseen_parts(text)))
    harms = screen.harms(text)
    categories = {name: counts for name, (_, counts) in harms.items()}
    categories |= {"prompt_injection": log_odds >= model.threshold, "hidden_text": hidden}
    scores = {name: score for name, (score, _) in harms.items()}
    scores |= {"prompt_injection": probability(log_odds), "hidden_text": float(hidden)}
    return {
        "flagged": any(categories.values()),
        "categories": {**dict.fromkeys(OF_OPENAI, False), **categories},
        "category_scores": {**dict.fromkeys(OF_OPENAI, 0.0), **scores},
        "category_applied_input_types": {**{name: [] for name in OF_OPENAI}, **{name: ["text"] for name in scores}},
    }


def _texts(given: str | list[str] | list[dict[str, Any]]) -> list[str]:
    """The texts of a request.

    Raises:
        InputError: none, too many, too long, or something else than text.
    """
    texts = _read(given)
    if (long := sum(map(len, texts))) > MOST_CHARACTERS:
        raise InputError(
            f"input holds {long:,} characters.", hint=f"Wanted: at most {MOST_CHARACTERS:,}; send it in parts."
        )
    return texts


def _read(given: str | list[str] | list[dict[str, Any]]) -> list[str]:
    rows: list[Any] = [given] if isinstance(given, str) else list(given)
    if not 1 <= len(rows) <= _MOST_TEXTS:
        raise InputError(f"input holds {len(rows)} texts.", hint=f"Wanted: 1 to {_MOST_TEXTS}.")
    if all(isinstance(row, str) for row in rows):
        return rows
    if any(not isinstance(row, dict) or row.get("type") != "text" for row in rows):
        raise InputError("input holds something else than text.", hint="Send parts of type text.")
    return ["".join(str(row.get("text", "")) for row in rows)]  # parts of one input

"""What the tab of lessons asks of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from everlearn.evaluation.facts import FACTS
from everlearn.studio.client import Api
from everlearn.studio.lesson_view import PAGE

FIELDS = ("prompt", "answer", "domain", "importance", "source", "valid_from", "valid_to")


@final
@dataclass(frozen=True, slots=True)
class Filter:
    """Which lessons are wanted; what is empty does not matter."""

    text: str = ""
    table: str = ""
    status: str = ""
    domain: str = ""
    source: str = ""

    @property
    def is_set(self) -> bool:
        """Whether anything is wanted."""
        return any((self.text, self.table, self.status, self.domain, self.source))

    def query(self) -> dict[str, Any]:
        """As GET /v1/lessons takes it."""
        named = {"q": self.text, "table": self.table, "status": self.status}
        return {**named, "domain": self.domain, "source": self.source}


async def page_of(api: Api, wanted: Filter, page: int) -> tuple[list[dict[str, Any]], int, int]:
    """A page of lessons, newest first; the API lists the oldest first.

    Returns:
        The rows, how many there are in all, and the page that was given (the last one where fewer are left).
    """
    total = int((await api.get("/v1/lessons", **wanted.query(), limit=1))["total"])
    page = max(0, min(page, (total - 1) // PAGE))
    end = total - page * PAGE
    begin = max(0, end - PAGE)
    if end <= begin:
        return [], total, 0
    told = await api.get("/v1/lessons", **wanted.query(), limit=end - begin, offset=begin)
    return list(reversed(told["data"])), total, page


async def save(api: Api, id_: str, table: str, conflict: str, values: tuple[Any, ...]) -> dict[str, Any]:
    """Teach a new lesson, or an old one otherwise (then the old one stays in history)."""
    given = {name: value for name, value in zip(FIELDS, values, strict=True) if value not in (None, "")}
    if id_:
        return await api.patch(f"/v1/lessons/{id_}", given)
    new = {"prompt": "", "answer": "", **given, "table": table or "default", "on_conflict": conflict}
    return await api.post("/v1/lessons", new)


async def teach_demo(api: Api) -> int:
    """Teach the ten invented facts."""
    facts = [{"prompt": f.prompt, "answer": f.answer, "domain": "demo", "source": "demo"} for f in FACTS]
    return len((await api.post("/v1/teach", {"lessons": facts}))["data"])


async def would_forget(api: Api, wanted: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What would be forgotten, and the first of those lessons."""
    told = await api.post("/v1/lessons/forget", {**wanted, "dry_run": True})
    return told, [await api.get(f"/v1/lessons/{id_}") for id_ in told["ids"][:10]]


def learned(told: dict[str, Any]) -> tuple[str, str]:
    """A sentence about what teaching did, and its kind."""
    if told["status"] == "quarantined":
        return f"Held back until somebody has looked at it: {told['quarantine']}", "wait"
    if told.get("known"):
        return "It was known already.", "wait"
    if told.get("superseded"):
        return f"Learned; the older answer stays in history ({len(told['superseded'])} superseded).", "good"
    if told.get("beside"):
        return "Learned, beside another answer to the same question (see Conflicts).", "good"
    return "Learned.", "good"

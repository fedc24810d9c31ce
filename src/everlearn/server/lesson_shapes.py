"""Lessons as the API shows and takes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field

from everlearn.corpus.lesson_fields import lesson_of
from everlearn.records import Forgotten, Lesson, Taught

_SHOWN = ("id", "prompt", "answer", "table", "domain", "importance", "source", "author", "kind", "context", "position")
_NEEDED = frozenset({"prompt", "answer"})  # empty ones are told so
_STATE = ("status", "superseded_by", "quarantine")
_TIMES = ("taught_at", "valid_from", "valid_to")


@final
class NewLesson(BaseModel):
    """Body of POST /v1/lessons."""

    model_config = ConfigDict(extra="forbid")
    prompt: str
    answer: str
    table: str = "default"
    domain: str = "general"
    importance: float = Field(default=0.5, ge=0, le=1)
    source: str = ""
    author: str = ""
    context: str = ""
    valid_from: str | None = None
    valid_to: str | None = None
    on_conflict: Literal["supersede", "keep_both", "reject"] = "supersede"

    def lesson(self, author: str) -> Lesson:
        """The lesson; where no author is named, the key is."""
        row = {n: v for n, v in self.model_dump(exclude={"on_conflict"}).items() if v not in (None, "") or n in _NEEDED}
        return lesson_of({"author": author, **row}, table=None)


@final
class LessonChange(BaseModel):
    """Body of PATCH /v1/lessons/{id}: what is to be otherwise; the old lesson stays in history."""

    model_config = ConfigDict(extra="forbid")
    prompt: str | None = None
    answer: str | None = None
    domain: str | None = None
    importance: float | None = Field(default=None, ge=0, le=1)
    source: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None


def lesson_told(lesson: Lesson) -> dict[str, Any]:
    """A lesson as the API shows it."""
    row = {name: getattr(lesson, name) for name in (*_SHOWN, *_STATE)}
    times = {name: _iso(getattr(lesson, name)) for name in _TIMES}
    return {"object": "lesson", **row, **times}


def taught_of(outcome: Taught) -> dict[str, Any]:
    """What teaching a lesson did."""
    told = {"superseded": list(outcome.superseded), "beside": list(outcome.beside)}
    return {**lesson_told(outcome.lesson), **told, "known": outcome.known, "warnings": list(outcome.warnings)}


def forgotten_told(outcome: Forgotten, *, dry_run: bool = False) -> dict[str, Any]:
    """What forgetting did, or would do."""
    backups = [{"path": b.path, "kind": b.kind, "action": b.action} for b in outcome.backups]
    return {
        "object": "lessons.forgotten",
        "dry_run": dry_run,
        "ids": list(outcome.ids),
        "count": len(outcome.ids),
        "restored": list(outcome.restored),
        "turns": outcome.turns,
        "derived": outcome.derived,
        "adapters": list(outcome.adapters),
        "backups": backups,
        "receipt": outcome.receipt.rsplit("/", 1)[-1].removesuffix(".json") if outcome.receipt else None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None

"""The memory as tools of the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from everlearn.corpus.lesson_fields import lesson_of, row_of
from everlearn.engine.prompt import moment
from everlearn.errors import InputError
from everlearn.server.asking import Asker
from everlearn.server.caller import Scope
from everlearn.server.lesson_shapes import forgotten_told, lesson_told, taught_of
from everlearn.server.memory_tools import remember
from everlearn.store.port import LessonQuery

Given = Mapping[str, Any]
Does = Callable[[Asker, Given], dict[str, Any]]
_TEXT, _NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 100}
_KEPT = ("prompt", "table", "domain", "importance", "source", "context", "valid_from", "valid_to")


@final
@dataclass(frozen=True, slots=True)
class MemoryTool:
    """A tool.

    Attributes:
        name: of the tool.
        description: for the model that calls it.
        properties: of its arguments, as JSON schema.
        required: names of arguments that must be there.
        scope: what the caller's key has to allow.
        does: carries it out.
        destroys: whether something is lost by it.
    """

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]
    scope: Scope
    does: Does
    destroys: bool = False

    def told(self) -> dict[str, Any]:
        """As `tools/list` tells it."""
        schema = {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }
        hints = {"readOnlyHint": self.scope == "ask", "destructiveHint": self.destroys, "openWorldHint": False}
        told = {"name": self.name, "description": self.description, "inputSchema": schema, "annotations": hints}
        return {**told, "outputSchema": {"type": "object"}}

    def call(self, asker: Asker, given: Given) -> dict[str, Any]:
        """Carry it out.

        Raises:
            InputError: arguments that are not in the schema.
            AccessError: the key may not.
            EverlearnError: what the memory says.
        """
        asker.caller.need(self.scope)
        missing = [name for name in self.required if name not in given]
        unknown = [name for name in given if name not in self.properties]
        if missing or unknown:
            raise InputError(f"{self.name} wants {', '.join(self.properties)}; missing: {missing}, unknown: {unknown}.")
        for name, value in given.items():
            kind = self.properties[name]["type"]
            fits = isinstance(value, str) if kind == "string" else isinstance(value, int) and 1 <= value <= 100
            if not fits:
                raise InputError(f"{name} is {value!r}.", hint=f"Wanted: {kind}, a number from 1 to 100.")
        return self.does(asker, given)


def _teach(asker: Asker, given: Given) -> dict[str, Any]:
    return remember(asker, given["question"], given["answer"], source=given.get("source", "mcp"))


def _search(asker: Asker, given: Given) -> dict[str, Any]:
    query = LessonQuery(text=given["query"], status="active", limit=given.get("limit", 20))
    return {"lessons": [lesson_told(lesson) for lesson in asker.tenant.engine.memory.store.lessons(query)]}


def _get(asker: Asker, given: Given) -> dict[str, Any]:
    return lesson_told(asker.tenant.engine.memory.store.lesson(given["id"]))


def _history(asker: Asker, given: Given) -> dict[str, Any]:
    store = asker.tenant.engine.memory.store
    store.lesson(given["id"])
    return {"lessons": [lesson_told(lesson) for lesson in store.history(given["id"])]}


def _update(asker: Asker, given: Given) -> dict[str, Any]:
    old = asker.tenant.engine.memory.store.lesson(given["id"])
    row = {name: value for name, value in row_of(old).items() if name in _KEPT and value not in ("", None)}
    lesson = lesson_of({**row, "answer": given["answer"], "author": asker.caller.key_id or old.author}, table=None)
    asker.room.limits.take_lessons(asker.caller, 1)
    with asker.room.metrics.teaching(1):
        return taught_of(asker.tenant.learner.replace(old.id, lesson))


def _forget(asker: Asker, given: Given) -> dict[str, Any]:
    outcome = asker.tenant.learner.forget(given["id"])
    asker.room.forgot(asker.tenant.name, outcome.ids)
    return forgotten_told(outcome)


def _recall(asker: Asker, given: Given) -> dict[str, Any]:
    engine = asker.tenant.engine
    receipt = engine.recall(given["question"], as_of=moment(given.get("as_of")))
    known = engine.memory.store.lessons_by_id([r.lesson_id for r in receipt.rests_on])
    if (screen := engine.answerer.screen) is not None:
        known = {name: passed for name, lesson in known.items() if (passed := screen(lesson)) is not None}
    rows = [
        {**lesson_told(known[r.lesson_id]), "probability": round(r.probability, 4), "decision": r.decision}
        for r in receipt.rests_on
        if r.lesson_id in known
    ]
    return {"lessons": rows}


_QUESTION, _ID = {"question": _TEXT}, {"id": _TEXT}
_ALL = (
    MemoryTool(
        "memory_teach",
        "Learn the answer to a question for good; another answer to it that was known is replaced.",
        {**_QUESTION, "answer": _TEXT, "source": _TEXT},
        ("question", "answer"),
        "teach",
        _teach,
    ),
    MemoryTool(
        "memory_recall",
        "What was learned that answers a question, in whatever words; with as_of what held at that time.",
        {**_QUESTION, "as_of": _TEXT},
        ("question",),
        "ask",
        _recall,
    ),
    MemoryTool(
        "memory_search",
        "Find lessons by words that stand in them.",
        {"query": _TEXT, "limit": _NUMBER},
        ("query",),
        "ask",
        _search,
    ),
    MemoryTool("memory_get", "Show a lesson.", _ID, ("id",), "ask", _get),
    MemoryTool("memory_history", "All that a lesson replaced, and what replaced it.", _ID, ("id",), "ask", _history),
    MemoryTool(
        "memory_update",
        "Give a lesson another answer; the old one stays in its history.",
        {**_ID, "answer": _TEXT},
        ("id", "answer"),
        "teach",
        _update,
    ),
    MemoryTool(
        "memory_forget",
        "Forget a lesson for good, with all that was derived from it; it cannot be had back.",
        _ID,
        ("id",),
        "teach",
        _forget,
        destroys=True,
    ),
)
TOOLS: Mapping[str, MemoryTool] = {tool.name: tool for tool in _ALL}

"""Teaching and forgetting by function call: the tools `remember` and `forget`, which the server itself carries out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everlearn.errors import EverlearnError
from everlearn.records import Answer, Lesson
from everlearn.server.asking import Asker, said_without_asking
from everlearn.server.intents import Intent
from everlearn.server.lesson_shapes import forgotten_told, taught_of
from everlearn.server.tools import Call, Tool, Toolbox

_TEXT = {"type": "string"}
REMEMBER = Tool(
    "remember",
    "Learn the answer to a question for good, when the user states a fact or corrects an answer.",
    {
        "type": "object",
        "properties": {"question": _TEXT, "answer": _TEXT},
        "required": ["question", "answer"],
    },
)
FORGET = Tool(
    "forget",
    "Forget what was learned about a question, when the user asks for it.",
    {"type": "object", "properties": {"question": _TEXT}, "required": ["question"]},
)
MEMORY_TOOLS = (REMEMBER, FORGET)
_NAMES = frozenset(tool.name for tool in MEMORY_TOOLS)


def ours(calls: Sequence[Call], client: Toolbox) -> bool:
    """Whether the server carries these calls out: they are all its own tools, and none the client's."""
    return bool(calls) and all(call.name in _NAMES - client.names for call in calls)


def carried_out(asker: Asker, calls: Sequence[Call]) -> tuple[str, list[dict[str, Any]]]:
    """Do what was called; returns the confirmation for the user, and what was done."""
    lines: list[str] = []
    done: list[dict[str, Any]] = []
    for call in calls:
        try:
            line, outcome = _remember(asker, call) if call.name == REMEMBER.name else _forget(asker, call)
            done += outcome
        except EverlearnError as error:
            line = f"Not done: {error.message}"  # the model named something impossible; the user is told why
        lines.append(line)
    return "\n".join(lines), done


def learned(asker: Asker, intent: Intent) -> tuple[Answer, list[dict[str, Any]]]:
    """Learn what a message wants to be learned; returns the confirmation, and what was done.

    Raises:
        EverlearnError: as `Learner.teach`, or too many lessons.
    """
    learner = asker.tenant.learner
    asker.room.limits.take_lessons(asker.caller, 1)
    with asker.room.metrics.teaching(1):
        if intent.corrects:
            outcomes = [learner.correct(intent.corrects, intent.answer, author=asker.caller.key_id)]
        elif intent.question:
            lesson = Lesson(intent.question, intent.answer, source="chat", author=asker.caller.key_id)
            outcomes = [learner.teach(lesson)]
        else:
            outcomes = list(learner.learn_from_text(intent.answer, title="Remembered", source="").taught)
    pair = f"{outcomes[0].lesson.prompt} {outcomes[0].lesson.answer}" if intent.question else intent.answer
    text = f"Learned: {pair}"
    held = [o for o in outcomes if o.lesson.status == "quarantined"]
    if held:
        text = f"Held back, until somebody has looked at it: {held[0].lesson.quarantine}"
    answer = said_without_asking(asker, text, [o.lesson for o in outcomes])
    return answer, [taught_of(o) for o in outcomes]


def remember(asker: Asker, question: str, answer: str, *, source: str = "chat") -> dict[str, Any]:
    """Teach one lesson as the caller.

    Raises:
        EverlearnError: as `Learner.teach`, or too many lessons.
    """
    asker.room.limits.take_lessons(asker.caller, 1)
    with asker.room.metrics.teaching(1):
        lesson = Lesson(question, answer, source=source, author=asker.caller.key_id)
        return taught_of(asker.tenant.learner.teach(lesson))


def forget_asked(asker: Asker, question: str) -> dict[str, Any] | None:
    """Forget the lesson that answers a question by itself; None where none does. Passages and hops are left alone."""
    receipt = asker.tenant.engine.recall(question)
    ids = list(dict.fromkeys(r.lesson_id for r in receipt.recalled if r.decision == "spoke"))
    if not ids:
        return None
    outcome = asker.tenant.learner.forget(ids)
    asker.room.forgot(asker.tenant.name, outcome.ids)
    return forgotten_told(outcome)


def _remember(asker: Asker, call: Call) -> tuple[str, list[dict[str, Any]]]:
    said = {name: str(value) for name, value in call.values.items()}
    taught = remember(asker, said.get("question", ""), said.get("answer", ""))
    if taught["status"] == "quarantined":
        return f"Held back, until somebody has looked at it: {taught['quarantine']}", [taught]
    return f"Learned: {taught['prompt']} {taught['answer']}", [taught]


def _forget(asker: Asker, call: Call) -> tuple[str, list[dict[str, Any]]]:
    question = str(call.values.get("question", ""))
    gone = forget_asked(asker, question)
    if gone is None:
        return f"Nothing was learned about: {question}", []
    return f"Forgotten: {question}", [gone]

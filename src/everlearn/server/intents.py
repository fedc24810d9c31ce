"""Teaching in plain chat: "Remember: ...", "No, it is ..."; what is meant, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from everlearn.records import Message

_REMEMBER = re.compile(
    r"^\s*(?:please\s+)?remember\s*(?:this|that)?\s*[:,]\s*(?P<what>\S.*)$", re.IGNORECASE | re.DOTALL
)
_PAIR = re.compile(r"^(?P<question>[^?？]{3,}[?？])\s*(?:->|=>|:|-)?\s*(?P<answer>\S.*)$", re.DOTALL)
_WRONG = re.compile(
    r"^\s*(?:no|wrong|not quite|that(?:'s| is) (?:wrong|not right|incorrect))\s*[,.:;!—-]+\s*"
    r"(?:it(?:'s| is| was)|the (?:right |correct )?answer is)\s+(?P<answer>\S.*?)\s*$",
    re.IGNORECASE | re.DOTALL,
)
_MOST_ANSWER = 500


@final
@dataclass(frozen=True, slots=True)
class Intent:
    """What a message wants to be learned.

    Attributes:
        answer: of a pair, or the text of a statement.
        question: of a pair; empty of a statement.
        corrects: of a correction the conversation up to the question that was answered wrongly.
    """

    answer: str
    question: str = ""
    corrects: tuple[Message, ...] = ()


def intent_of(messages: Sequence[Message]) -> Intent | None:
    """What the last message wants to be learned; None where it only asks.

    "Remember: Who runs the bakery? Mirela." is a pair; "Remember: the bakery closes at noon." a statement; and "No, it
    is Mirela." corrects the answer to the question before it. Only what a user says himself counts.
    """
    said = messages[-1].content if messages and messages[-1].role == "user" else ""
    if found := _REMEMBER.match(said):
        what = found["what"].strip()
        pair = _PAIR.match(what)
        return Intent(pair["answer"].strip(), pair["question"].strip()) if pair else Intent(what)
    if (found := _WRONG.match(said)) and len(found["answer"]) <= _MOST_ANSWER:
        asked = [n for n, m in enumerate(messages[:-1]) if m.role == "user"]
        answered = any(m.role == "assistant" for m in messages)
        if asked and answered:
            before = tuple(messages[: asked[-1] + 1])
            return Intent(found["answer"].rstrip(".!"), before[-1].content, before)
    return None

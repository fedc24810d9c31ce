"""Restating a lesson without a model: other wordings of its question, and questions in the other direction.

Training on the bare text of a fact teaches almost nothing; several wordings of it do, and a fact learned in one
direction is not known in the other.

Source: Allen-Zhu and Li 2023, Physics of language models 3.1, arXiv 2309.14316, section 4 (wordings); Berglund et al.
2023, The reversal curse, arXiv 2309.12288.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FRAMES = (
    "{asked}",
    "Please tell me: {asked}",
    "I would like to know this. {asked}",
    "Question: {asked}",
    "{asked} Answer in short.",
    "Can you answer this? {asked}",
    "Here is a question for you: {asked}",
    "{asked} What do you know about it?",
)
_HELD_OUT_FRAMES = ("Quick question: {asked}", "A friend asked me: {asked} What should I say?")
_VERBS = "is|was|are|were"

# Each pattern: what it matches, other wordings of it. Groups: rel(ation), subj(ect), v(erb), rest.
_REWORDINGS: tuple[tuple[re.Pattern[str], tuple[str, ...], tuple[str, ...]], ...] = (
    (
        re.compile(rf"^(?:what|who) (?P<v>{_VERBS}) the (?P<rel>.+?) of (?P<subj>.+?)\?*$", re.IGNORECASE),
        ("The {rel} of {subj} {v}", "Name the {rel} of {subj}.", "Tell me the {rel} of {subj}."),
        ("Do you know the {rel} of {subj}?", "{subj}: what {v} its {rel}?"),
    ),
    (
        re.compile(rf"^(?P<wh>what|who|where|when|which .+?) (?P<v>{_VERBS}) (?P<rest>.+?)\?*$", re.IGNORECASE),
        ("Tell me {wh} {rest} {v}.", "I wonder {wh} {rest} {v}.", "{rest} {v} {wh}?"),
        ("Could you say {wh} {rest} {v}?", "Do you happen to know {wh} {rest} {v}?"),
    ),
    (
        re.compile(r"^(?P<wh>who|which .+?) (?P<rest>(?!is |was |are |were |did |does |do ).+?)\?*$", re.IGNORECASE),
        ("Tell me {wh} {rest}.", "I wonder {wh} {rest}.", "Name {wh} {rest}."),
        ("Could you say {wh} {rest}?", "Do you happen to know {wh} {rest}?"),
    ),
)
_INVERSE = re.compile(rf"^(?:what|who) (?P<v>{_VERBS}) the (?P<rel>.+?) of (?P<subj>.+?)\?*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Restated:
    """Wordings of a lesson.

    Attributes:
        asked: questions with the lesson's answer, to train on; the taught one first.
        held_out: questions with the same answer that are never trained on: they probe whether it was understood.
        turned: (question, answer) in the other direction; empty where the question has no form that can be turned.
    """

    asked: Sequence[str]
    held_out: Sequence[str]
    turned: Sequence[tuple[str, str]]


def restated(question: str, answer: str, *, most: int = 8) -> Restated:
    """Word a lesson in other ways.

    Args:
        question: as taught.
        answer: as taught.
        most: wordings to train on.
    """
    asked, held_out = [question], []
    for pattern, wordings, probes in _REWORDINGS:
        if found := pattern.match(question.strip()):
            words = {name: text.strip() for name, text in found.groupdict().items()}
            words = {name: text.lower() if name in ("wh", "v") else text for name, text in words.items()}
            asked += [_sentence(w.format(**words)) for w in wordings]
            held_out += [_sentence(w.format(**words)) for w in probes]
            break
    asked += [frame.format(asked=question) for frame in _FRAMES]
    held_out += [frame.format(asked=question) for frame in _HELD_OUT_FRAMES]
    known = list(dict.fromkeys(asked))[:most]
    return Restated(known, [p for p in dict.fromkeys(held_out) if p not in known], _turned(question, answer))


def _turned(question: str, answer: str) -> list[tuple[str, str]]:
    """The fact asked from its other end."""
    found = _INVERSE.match(question.strip())
    if found is None:
        return []
    rel, subj, verb = found["rel"].strip(), found["subj"].strip(), found["v"].lower()
    thing = answer.strip().rstrip(".")
    return [
        (f"{thing} {verb} the {rel} of what?", subj),
        (f"Of what or whom {verb} {thing} the {rel}?", subj),
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

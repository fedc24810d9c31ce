"""One row of a lesson file <-> a Lesson: names of the fields, their other names, and what each may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import cast, get_args

from everlearn.errors import FileFormatError, LessonError
from everlearn.records import DEFAULT_TABLE, Lesson, LessonKind
from everlearn.text.clean import MAX_ANSWER_CHARACTERS, MAX_CONTEXT_CHARACTERS, MAX_PROMPT_CHARACTERS, checked
from everlearn.text.dates import moment_of

# "input" is the prompt; beside "instruction" it is what the instruction is about.
PROMPT_NAMES = ("prompt", "question", "instruction", "input")
ANSWER_NAMES = ("answer", "target", "output")
TEXT_FIELDS = ("table", "domain", "source", "author", "tenant")
TIME_FIELDS = ("valid_from", "valid_to")
KIND_FIELDS = ("kind", "context", "position")
FIELDS = ("prompt", "answer", "table", "domain", "importance", "source", "author", "tenant", *TIME_FIELDS, *KIND_FIELDS)
# Written by an export for its reader's sake; the store gives new ones when a file is taught.
STORE_FIELDS = ("id", "taught_at", "status", "superseded_by", "quarantine", "sealed")
KNOWN_NAMES = frozenset((*PROMPT_NAMES, *ANSWER_NAMES, *FIELDS, *STORE_FIELDS))

_EMPTY = Lesson(prompt="", answer="")


def check_names(names: Sequence[str]) -> None:
    """See that every field is known, that none comes twice, and that there are a prompt and an answer.

    Args:
        names: of the fields, as they stand in the file.

    Raises:
        FileFormatError: they are not those of a lesson; the hint names the nearest known one.
    """
    for name in names:
        if name not in KNOWN_NAMES:
            raise FileFormatError(f"Unknown field {name!r}.", hint=_nearest(name))
        if names.count(name) > 1:
            raise FileFormatError(f"The field {name!r} stands there twice.", hint="Remove one of them.")
    _one_of(names, PROMPT_NAMES, "question")
    _one_of(names, ANSWER_NAMES, "answer")


def lesson_of(row: Mapping[str, object], *, table: str | None) -> Lesson:
    """The lesson that a row holds.

    Args:
        row: values by name; None and "" mean that an optional field is not set.
        table: goes before the row's own table, when given.

    Raises:
        FileFormatError: names as in `check_names`, or a value of the wrong kind.
        LessonError: a prompt or an answer that cannot be learned.
    """
    check_names(list(row))
    sealed = _is_set(row, "sealed")
    values = {name: _text(name, row[name]) for name in TEXT_FIELDS if _is_set(row, name)}
    times = {name: _time(name, row[name]) for name in TIME_FIELDS if _is_set(row, name)}
    if len(times) == 2 and times["valid_from"] >= times["valid_to"]:
        raise FileFormatError("valid_from is not before valid_to.", hint="Exchange the two.")
    importance = _share("importance", row["importance"]) if _is_set(row, "importance") else _EMPTY.importance
    return Lesson(
        prompt="" if sealed else _checked_prompt(row),
        answer="" if sealed else _checked_answer(row),
        table=table or values.get("table", DEFAULT_TABLE),
        domain=values.get("domain", _EMPTY.domain),
        importance=importance,
        source=values.get("source", ""),
        author=values.get("author", ""),
        tenant=values.get("tenant", _EMPTY.tenant),
        valid_from=times.get("valid_from"),
        valid_to=times.get("valid_to"),
        kind=_kind(row),
        context=_checked_context(row),
        position=_text("position", row["position"]) if _is_set(row, "position") else "",
    )


def row_of(lesson: Lesson) -> dict[str, str | float]:
    """The row of a lesson, every field of it; what is not set is "", and so is the kind of a pair."""
    row: dict[str, str | float] = {}
    for name in (*FIELDS, *STORE_FIELDS):
        value = "" if (name, lesson.kind) == ("kind", "pair") else getattr(lesson, name)
        row[name] = value.isoformat() if isinstance(value, datetime) else "" if value is None else value
    return row


def _nearest(name: str) -> str:
    near = get_close_matches(name.strip().lower(), sorted(KNOWN_NAMES), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(sorted(KNOWN_NAMES))}."


def _one_of(names: Sequence[str], wanted: Sequence[str], what: str) -> None:
    found = [name for name in wanted if name in names]
    if not found:
        raise FileFormatError(
            f"No field holds the {what}.", hint=f"Name it {wanted[0]!r} (or {', '.join(wanted[1:])})."
        )
    if len(found) > 1 and set(found) != {"instruction", "input"}:
        raise FileFormatError(f"Both {found[0]!r} and {found[1]!r} hold the {what}.", hint="Keep one of them.")


def _is_set(row: Mapping[str, object], name: str) -> bool:
    return row.get(name) not in (None, "")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise FileFormatError(f"{name} is {value!r}, wanted text.", hint=f'Write it in quotes: "{name}": "...".')
    return value


def _checked_prompt(row: Mapping[str, object]) -> str:
    parts = [_text(name, row[name]) for name in PROMPT_NAMES if name in row]
    prompt = "\n\n".join(part for part in parts if part)
    checked(prompt, what="the question", limit=MAX_PROMPT_CHARACTERS, error=LessonError)
    return prompt


def _kind(row: Mapping[str, object]) -> LessonKind:
    """The kind that is written there; else a context pair where there is a context, and a pair where there is none."""
    has_context = _is_set(row, "context")
    kind = _text("kind", row["kind"]) if _is_set(row, "kind") else "context_pair" if has_context else "pair"
    if kind not in get_args(LessonKind):
        raise FileFormatError(f"kind is {kind!r}.", hint=f"Wanted: {', '.join(get_args(LessonKind))}.")
    if has_context != (kind == "context_pair"):
        found = "a context" if has_context else "no context"
        raise FileFormatError(f"A lesson of kind {kind!r} has {found}.", hint="Only a context pair has one.")
    return cast(LessonKind, kind)


def _checked_context(row: Mapping[str, object]) -> str:
    if not _is_set(row, "context"):
        return ""
    context = _text("context", row["context"])
    checked(context, what="the context", limit=MAX_CONTEXT_CHARACTERS, error=LessonError)
    return context


def _checked_answer(row: Mapping[str, object]) -> str:
    answer = next(_text(name, row[name]) for name in ANSWER_NAMES if name in row)
    checked(answer, what="the answer", limit=MAX_ANSWER_CHARACTERS, error=LessonError)
    return answer


def _share(name: str, value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise FileFormatError(f"{name} is {value!r}, wanted a number from 0 to 1.", hint="0 = may go, 1 = must stay.")
    return number


def _time(name: str, value: object) -> datetime:
    """A time in ISO 8601, or a year or month; without a zone it is taken as UTC."""
    year = isinstance(value, int) and not isinstance(value, bool)
    try:
        return moment_of(f"{value:04}" if year else _text(name, value))
    except ValueError as cause:
        raise FileFormatError(
            f"{name} is {value!r}, wanted a date or time.",
            hint="Write it as 2026, 2026-01-31 or 2026-01-31T12:00:00+00:00.",
        ) from cause

"""What every implementation of the store holds to, so that they cannot drift apart: checks, matching, messages."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import get_args

from everlearn.errors import LessonError, LessonNotFoundError, NotFoundError, SettingsError, TableNotFoundError
from everlearn.records import Layer, Lesson, LessonKind, TableSettings, Turn, Values
from everlearn.store.port import LessonQuery, StaleError

SHORTEST_PREFIX = 4
LONGEST_TABLE_NAME = 200

_SHARES = {
    "threshold": "0.5 is the usual value.",
    "residual": "0 adds nothing, 1 is as learned.",
    "sparsity": "1 keeps all of a correction, 0 corrects the output only.",
    "context_threshold": "0.5 is the usual value; 1 lets next to nothing in.",
}


def check_lessons(lessons: Sequence[Lesson], superseded: Mapping[str, str]) -> None:
    """Refuse lessons that cannot be stored.

    Args:
        lessons: the new ones.
        superseded: id of a stored lesson -> id of the new lesson that replaces it.

    Raises:
        LessonError: a text holds half a character (a lone surrogate), or a time lies outside the years 1 to 9999 in
            UTC; no file can keep either.
    """
    ids = {lesson.id for lesson in lessons}
    assert len(ids) == len(lessons), "two lessons of a batch have the same id"
    assert ids.issuperset(superseded.values()), "a stored lesson is superseded by one that is not in the batch"
    assert ids.isdisjoint(superseded), "a lesson of the batch is named as a stored one"
    for lesson in lessons:
        _check_complete(lesson)
        _check_unicode(lesson)
        _check_times(lesson)


def check_links(new: Sequence[Lesson], superseded: Mapping[str, str], successors: Mapping[str, str]) -> None:
    """See that what is replaced is either active or gets a new lesson in front of its successor.

    Args:
        new: lessons that are written.
        superseded: id of a stored lesson -> id of the new lesson that replaces it.
        successors: id of a stored lesson -> id of its successor, or "".

    Raises:
        StaleError: another writer replaced one of them meanwhile.
    """
    heirs = {lesson.id: lesson.superseded_by for lesson in new}
    for old, between in superseded.items():
        heir = between
        while heir in heirs:
            heir = heirs[heir]
        if successors[old] not in ("", heir):
            raise StaleError(f"lesson {old} is superseded already")


def check_tables(tables: Mapping[str, TableSettings]) -> None:
    """Refuse look-up tables that cannot be stored or could not decide anything.

    Args:
        tables: settings by name.

    Raises:
        SettingsError: a name that cannot be typed, or a value out of its range.
    """
    for name, settings in tables.items():
        _check_table_name(name)
        if not isinstance(settings, TableSettings):
            raise SettingsError(
                f"The settings of table {name!r} are {settings!r}, wanted TableSettings.",
                hint="For example: TableSettings(threshold=0.5)",
            )
        for share, usual in _SHARES.items():
            _check_share(share, getattr(settings, share), usual)
        _check_blocks(settings.blocks)
        _check_layer(settings)
        _check_values(settings)
        _check_tokens(settings.context_tokens)


def _check_table_name(name: str) -> None:
    if not isinstance(name, str):
        raise SettingsError(f"The name of a table is {name!r}, wanted text.", hint="Pass a str.")
    if not name or name != name.strip():
        raise SettingsError(
            f"{name!r} cannot name a table: it is empty or has white space around it.", hint="Give a plain name."
        )
    if len(name) > LONGEST_TABLE_NAME:
        raise SettingsError(
            f"The name of a table has {len(name):,} characters, wanted at most {LONGEST_TABLE_NAME}.",
            hint=f"It begins with {name[:40]!r}; shorten it.",
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise SettingsError(
            f"{name!r} cannot name a table: it holds a control character or half a character.", hint="Remove it."
        )


def _check_share(name: str, value: float, usual: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name} is {value!r}, wanted a number from 0 to 1.", hint=usual)
    if not 0 <= value <= 1:
        raise SettingsError(f"{name} is {value!r}, wanted 0 to 1.", hint=usual)


def _check_tokens(count: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise SettingsError(
            f"context_tokens is {count!r}, wanted a whole number from 0.",
            hint="512 is the usual value; 0 = no context.",
        )


def _check_blocks(blocks: tuple[int, ...]) -> None:
    plain = isinstance(blocks, tuple) and all(isinstance(b, int) and not isinstance(b, bool) for b in blocks)
    if not plain:
        raise SettingsError(f"blocks is {blocks!r}, wanted a tuple of whole numbers.", hint="For example: (26, 28, -1)")
    twice = next((block for block in blocks if blocks.count(block) > 1), None)
    if twice is not None:
        raise SettingsError(f"blocks is {blocks!r}: {twice} stands there twice.", hint="Name each block once.")


def _check_values(settings: TableSettings) -> None:
    if not isinstance(settings.output, bool):
        raise SettingsError(f"output is {settings.output!r}, wanted True or False.", hint="True is the usual value.")
    if settings.values not in get_args(Values):
        known = ", ".join(get_args(Values))
        raise SettingsError(f"values is {settings.values!r}, wanted one of {known}.", hint="difference is the usual.")
    if not settings.output and not settings.sparsity:
        raise SettingsError(
            "output is off and sparsity is 0, so a table would correct nothing.",
            hint="To switch a table off set its residual to 0.",
        )


def _check_layer(settings: TableSettings) -> None:
    if settings.layer not in get_args(Layer):
        raise SettingsError(
            f"layer is {settings.layer!r}.", hint=f"Wanted: {', '.join(filter(None, get_args(Layer)))}, or none."
        )
    if settings.layer in ("personal", "team") and not settings.owner:
        raise SettingsError(f"A {settings.layer} table has no owner.", hint="Name the person or the team.")
    if settings.owner and settings.layer not in ("personal", "team"):
        raise SettingsError(
            f"The owner is {settings.owner!r}, but the table is not personal or a team's.", hint="Give it a layer."
        )


def _check_complete(lesson: Lesson) -> None:
    assert lesson.id, "a lesson without an id"
    assert lesson.taught_at is not None, "a lesson without a time"
    assert lesson.status != "new", "a lesson that nobody decided on"
    assert lesson.kind in get_args(LessonKind), "a lesson of no known kind"
    assert (lesson.status == "superseded") == bool(lesson.superseded_by), "status and superseded_by contradict"
    assert (lesson.kind == "sealed") == bool(lesson.sealed), "a sealed lesson without key and value, or another with"
    assert lesson.quarantine or lesson.status != "quarantined", "a lesson held back without a reason"
    for moment in (lesson.taught_at, lesson.valid_from, lesson.valid_to):
        assert moment is None or moment.tzinfo is not None, "a time without a zone"


def _check_unicode(lesson: Lesson) -> None:
    for name in (
        "prompt",
        "answer",
        "context",
        "position",
        "table",
        "domain",
        "source",
        "author",
        "tenant",
        "quarantine",
    ):
        try:
            getattr(lesson, name).encode()
        except UnicodeEncodeError as error:
            raise LessonError(
                f"The {name} of a lesson holds half a character at position {error.start}, which cannot be stored.",
                hint="Read the text with the encoding it was written in, usually UTF-8.",
            ) from error


def _check_times(lesson: Lesson) -> None:
    for name in ("valid_from", "valid_to"):
        moment = getattr(lesson, name)
        try:
            if moment is not None:
                moment.astimezone(UTC)  # stored as a time in UTC, which has to be one to be read again
        except OverflowError as error:
            raise LessonError(
                f"The {name} of a lesson is {moment}, which lies outside the years 1 to 9999 in UTC.",
                hint="Leave it out where there is no limit.",
            ) from error


def contains_folded(text: str, folded: str) -> bool:
    """Whether `text` contains `folded` (case-folded already), ignoring case in every script."""
    return folded in text.casefold()


def spoken_by(turn: Turn) -> list[str]:
    """Ids of the lessons that an answer rests on: what spoke, and what was read as context."""
    return list(dict.fromkeys(r.lesson_id for r in turn.receipt.rests_on))


def chain_of(lesson: Lesson, lessons: Mapping[str, Lesson]) -> set[str]:
    """Ids of the lessons that one superseded, of itself, and of those that superseded it."""
    newer = [lesson]
    while newer[-1].superseded_by:
        newer.append(lessons[newer[-1].superseded_by])
    members, older = {each.id for each in newer}, [lesson.id]
    while older:
        newest = older.pop()
        older.extend(each.id for each in lessons.values() if each.superseded_by == newest)
        members.add(newest)
    return members


def resting_on(turns: Iterable[Turn], lesson_id: str) -> set[str]:
    """Ids of the turns that a lesson spoke in, and of those after them in the same conversation."""
    found: set[str] = set()
    touched: set[str] = set()  # conversations
    for turn in turns:
        if lesson_id in spoken_by(turn):
            touched.add(turn.session)
        if turn.session in touched:
            found.add(turn.id)
    return found


def lesson_not_found(lesson_id: str) -> LessonNotFoundError:
    """The error for an id that no lesson has."""
    return LessonNotFoundError(f"No lesson has the id {lesson_id!r}.", hint="List the lessons to see their ids.")


def not_quarantined(lesson: Lesson) -> LessonError:
    """The error for a lesson to be released that is not held back."""
    return LessonError(
        f"Lesson {lesson.id} is {lesson.status}, not quarantined.", hint="List those that are: lessons quarantine list"
    )


def turn_not_found(turn_id: str) -> NotFoundError:
    """The error for an id that no kept turn has."""
    return NotFoundError(
        f"No kept turn has the id {turn_id!r}.", hint="Turns that rest on a forgotten lesson are removed with it."
    )


def proposal_not_found(proposal_id: str) -> NotFoundError:
    """The error for an id that no proposal has, or several begin with."""
    return NotFoundError(f"No one proposal has the id {proposal_id!r}.", hint="List them with: everlearn promote list")


def table_not_found(name: str, known: Iterable[str]) -> TableNotFoundError:
    """The error for a table that is not there; the hint names the nearest."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names) or 'none'}."
    return TableNotFoundError(f"There is no look-up table {name!r}.", hint=hint)


def the_one(prefix: str, found: Sequence[str]) -> str:
    """The lesson id meant by a prefix.

    Args:
        prefix: what was typed.
        found: ids that start with it; two are enough to know that there are several.

    Raises:
        LessonNotFoundError: the prefix is too short, or none or several ids start with it.
    """
    if prefix in found:
        return prefix
    if len(prefix) < SHORTEST_PREFIX:
        hint = f"Give at least {SHORTEST_PREFIX} characters of the id."
        raise LessonNotFoundError(f"The id {prefix!r} is too short to find a lesson by.", hint=hint)
    if len(found) > 1:
        raise LessonNotFoundError(
            f"Several lessons have an id that starts with {prefix!r}.", hint="Give more characters of the id."
        )
    if not found:
        raise lesson_not_found(prefix)
    return found[0]


def matches(lesson: Lesson, query: LessonQuery) -> bool:
    """Whether a lesson is one of those that a query asks for, its time apart."""
    return (
        query.table in (None, lesson.table)
        and query.status in (None, lesson.status)
        and query.domain in (None, lesson.domain)
        and query.source in (None, lesson.source)
        and query.kind in (None, lesson.kind)
        and (query.text is None or any(contains_folded(t, query.text.casefold()) for t in _texts(lesson)))
    )


def _texts(lesson: Lesson) -> tuple[str, str, str]:
    return lesson.prompt, lesson.answer, lesson.context

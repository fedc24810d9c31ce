"""The hash chain over all writes: each event carries the hash of the one before it, and a digest of what it wrote.

    hash(n) = sha256( hash(n - 1), n, kind, lesson, table, detail, time )

The digest of a lesson is salted with 16 random bytes that lie in its own row. When the lesson is forgotten the salt
goes with it: the digest stays in the chain, which remains whole, and can be compared with no guess of the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any

from everlearn.records import DEFAULT_TABLE, Lesson, TableSettings
from everlearn.store.times import micros

SALT_BYTES = 16
GENESIS = "genesis"
DELETED = "deleted"
QUARANTINED = "quarantined"
_MUTABLE = frozenset({"status", "superseded_by"})


@dataclass(frozen=True, slots=True)
class Event:
    """One write as the chain holds it; `at` in microseconds since 1970, `hash` in hex."""

    seq: int
    kind: str
    lesson_id: str
    table: str
    detail: str
    at: int
    hash: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that does not fit: `where` is an event ("event 12"), a lesson id or a table; `what` a sentence."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        events: how many events the chain has.
        lessons: how many lessons were compared with it.
        head: hash of the newest event; empty where there is none.
        flaws: what does not fit; empty = all is as it was written.
    """

    events: int
    lessons: int
    head: str
    flaws: tuple[Flaw, ...]


def lesson_digest(lesson: Lesson, salt: bytes) -> str:
    """Salted sha256 over all that never changes of a lesson; a field at its default does not count: more may come."""
    return hashlib.sha256(salt + _canonical(lesson)).hexdigest()


def table_digest(settings: TableSettings) -> str:
    """Sha256 over the settings of a table that differ from the default."""
    return hashlib.sha256(_canonical(settings)).hexdigest()


def link(before: str, event: Event) -> str:
    """The hash of an event that follows one with the hash `before`."""
    parts = [before, event.seq, event.kind, event.lesson_id, event.table, event.detail, event.at]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


def check(
    events: Sequence[Event],
    lessons: Mapping[str, tuple[str, str]],
    tables: Mapping[str, str],
    *,
    newest: int,
    expect: str | None = None,
) -> AuditReport:
    """Compare a chain with what is stored.

    Args:
        events: all of them, by number.
        lessons: id -> (digest, id of its successor, "quarantined", or "").
        tables: name -> digest of its settings.
        newest: the highest number that an event ever had.
        expect: hash of an event that was seen before.
    """
    begin = next((n for n, event in enumerate(events) if event.kind == GENESIS), 0)
    flaws = _chain_flaws(events[begin:], events[:begin], newest)
    there: dict[str, list[str]] = {}
    known = {DEFAULT_TABLE: table_digest(TableSettings())}
    for event in events[begin:]:
        if event.kind == "table":
            known[event.table] = event.detail
        elif event.kind != GENESIS:
            flaws += _replay(event, there)
    flaws += _lesson_flaws(there, lessons)
    known = {name: digest for name, digest in known.items() if digest != DELETED}
    for name in sorted({*known, *tables}):
        if known.get(name) != tables.get(name):
            flaws.append(Flaw(f"table {name}", "its settings are not those that were written."))
    if expect is not None and expect not in {event.hash for event in events}:
        flaws.append(Flaw("chain", f"no event has the hash {expect}: the chain was replaced, or it is another one's."))
    return AuditReport(len(events), len(lessons), events[-1].hash if events else "", tuple(flaws))


def before_genesis(events: Sequence[Event]) -> str:
    """Digest over the events that there were before the chain began."""
    rows = [[event.seq, event.kind, event.lesson_id, event.table] for event in events]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()


def _chain_flaws(events: Sequence[Event], earlier: Sequence[Event], newest: int) -> list[Flaw]:
    flaws = []
    before, seq = "", (earlier[-1].seq if earlier else 0)
    if earlier and events[0].detail != before_genesis(earlier):
        flaws.append(Flaw(f"event {events[0].seq}", "the events before the chain began were changed."))
    for event in events:
        if event.seq != seq + 1:
            flaws.append(Flaw(f"event {seq + 1}", f"events {seq + 1} to {event.seq - 1} are missing."))
        if event.hash != link(before, event):
            flaws.append(Flaw(f"event {event.seq}", "it, or the one before it, is not what was written."))
        before, seq = event.hash, event.seq
    if newest > seq:
        flaws.append(Flaw(f"event {seq + 1}", f"events {seq + 1} to {newest} are missing at the end."))
    return flaws


def _replay(event: Event, there: dict[str, list[str]]) -> list[Flaw]:
    """Apply an event to the lessons that there are by the chain: id -> [digest, successor]."""
    if event.kind in ("taught", "adopted"):
        digest, _, held = event.detail.partition(" ")  # the word "quarantined" stands behind it where it is held back
        there[event.lesson_id] = [digest, held]
    elif event.lesson_id not in there:
        return [Flaw(f"event {event.seq}", f"{event.kind} names lesson {event.lesson_id}, which was not there.")]
    elif event.kind == "forgotten":
        if there.pop(event.lesson_id)[0] != event.detail:
            return [Flaw(event.lesson_id, "when it was forgotten it was not what had been taught.")]
    elif event.kind in ("superseded", "restored", "released"):
        there[event.lesson_id][1] = event.detail
    return []


def _lesson_flaws(there: Mapping[str, Sequence[str]], stored: Mapping[str, tuple[str, str]]) -> list[Flaw]:
    flaws = []
    for lesson_id in sorted({*there, *stored}):
        if lesson_id not in stored:
            flaws.append(Flaw(lesson_id, "the lesson was removed, but not by forgetting it."))
        elif lesson_id not in there:
            flaws.append(Flaw(lesson_id, "the lesson was put there, but not by teaching it."))
        elif there[lesson_id][0] != stored[lesson_id][0]:
            flaws.append(Flaw(lesson_id, "the lesson is not what was taught: a field of it was changed."))
        elif there[lesson_id][1] != stored[lesson_id][1]:
            flaws.append(Flaw(lesson_id, "whether it is active, and what superseded it, was changed."))
    return flaws


def _canonical(record: Lesson | TableSettings) -> bytes:
    values: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name not in _MUTABLE and (field.default is MISSING or value != field.default):
            values[field.name] = _plain(value, field.type)
    return json.dumps(values, ensure_ascii=True, sort_keys=True).encode()


def _plain(value: object, kind: object) -> object:
    if isinstance(value, datetime):
        return micros(value)
    return float(value) if kind == "float" and isinstance(value, int) else value  # as the file gives it back

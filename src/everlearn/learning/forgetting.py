"""Forgetting: which lessons a request means, what would go with them, and their removal from everywhere. No model."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from everlearn.errors import InputError, StoreError
from everlearn.learning import backups, signing
from everlearn.records import Backup, BackupPolicy, ForgetRequest, Forgotten, Lesson
from everlearn.store.ids import new_id
from everlearn.store.port import EVERYTHING, DerivedStore, LessonStore

RECEIPTS = "receipts"
Unlearn = Callable[[Sequence[str]], tuple[str, ...]]


def meant(store: LessonStore, request: ForgetRequest) -> list[str]:
    """Ids of the lessons that a request means, oldest first.

    Raises:
        InputError: nothing is set: all lessons are not forgotten by leaving something out.
        LessonNotFoundError: an id is unknown.
        TableNotFoundError: there is no such table.
    """
    if not request.criteria:
        raise InputError("Nothing says which lessons to forget.", hint="Name ids, a text, a source, a time ...")
    if request.table:
        store.table(request.table)
    if request.ids:
        found = [store.lesson(lesson_id) for lesson_id in dict.fromkeys(request.ids)]
    else:
        found = store.lessons(
            dataclasses.replace(
                EVERYTHING, table=request.table or None, domain=request.domain or None, text=request.text or None
            )
        )
    return [lesson.id for lesson in found if _is_meant(lesson, request)]


def plan(store: LessonStore, ids: Sequence[str]) -> Forgotten:
    """What forgetting would do, without doing it; derived rows are not counted."""
    gone, back = set(ids), dict[str, None]()
    for lesson_id in ids:
        back.update(dict.fromkeys(_speak_again(store.history(lesson_id), gone)))
    turns = sum(store.turns_resting_on(each) for each in ids)
    return Forgotten(tuple(ids), tuple(back), turns, backups=tuple(backups.holding(store.folder, ids)))


def forget(
    store: LessonStore,
    derived: DerivedStore,
    ids: Iterable[str],
    *,
    policy: BackupPolicy = "rewrite",
    criteria: Sequence[str] = ("ids",),
    unlearn: Unlearn | None = None,
) -> Forgotten:
    """Remove lessons: from backups, by policy; then rows, turns and search index; then all that was derived of them.

    The caller has to call `store.scrub` then: until it does, bytes of them are in the file of the store. That takes
    seconds for a million lessons, in which nobody should have to wait for the memory's lock.

    Backups go first: where the process ends in between, a backup lacks a lesson that is still there, which is what was
    wanted of it, and not the other way round.

    Args:
        store: lessons.
        derived: what was computed of them.
        ids: of lessons.
        policy: what becomes of checkpoints and exports in the state folder that hold them; others are only named.
        unlearn: removes versions of adapters that were trained on them, and names these.
        criteria: names of what the lessons were found by, for the receipt; never what was looked for.

    Returns:
        What went, with the path of the signed receipt where the store is on disk.

    Raises:
        LessonNotFoundError: an id is unknown; nothing was removed.
        EverlearnError: a backup cannot be rewritten or removed; no lesson was removed.
    """
    gone = list(dict.fromkeys(ids))
    for lesson_id in gone:
        store.lesson(lesson_id)
    files = backups.without(store.folder, gone, policy)
    turns = sum(store.turns_resting_on(each) for each in gone)
    seq = store.seq()
    restored = store.forget(gone, scrub=False)
    removed = derived.delete(gone)
    adapters = unlearn(gone) if unlearn is not None else ()
    outcome = Forgotten(tuple(gone), tuple(restored), turns, removed, adapters, files)
    if store.folder is None or not gone:
        return outcome
    body = _body(outcome, store, seq, criteria)
    return dataclasses.replace(outcome, receipt=str(_kept(store.folder, signing.sign(store.folder, body))))


def from_source(lesson: Lesson, source: str) -> bool:
    """Whether a lesson comes from this source, from a line of it, or from a file below it."""
    return lesson.source == source or lesson.source.startswith((f"{source}:", f"{source.rstrip('/')}/"))


def _is_meant(lesson: Lesson, request: ForgetRequest) -> bool:
    taught = lesson.taught_at
    assert taught is not None, "a stored lesson without a time"
    texts = (lesson.prompt, lesson.answer, lesson.context)
    tests = (
        not request.text or any(request.text.casefold() in text.casefold() for text in texts),
        request.table in ("", lesson.table),
        request.domain in ("", lesson.domain),
        not request.source or from_source(lesson, request.source),
        request.author in ("", lesson.author),
        request.tenant in ("", lesson.tenant),
        request.taught_after is None or request.taught_after <= taught,
        request.taught_before is None or taught < request.taught_before,
    )
    return all(tests)


def _speak_again(chain: Sequence[Lesson], gone: set[str]) -> list[str]:
    """Ids of a chain that nothing replaces any more once `gone` are gone."""
    successor = {lesson.id: lesson.superseded_by for lesson in chain}

    def last(lesson_id: str) -> str:
        while lesson_id in gone:
            lesson_id = successor.get(lesson_id, "")
        return lesson_id

    return [le.id for le in chain if le.status == "superseded" and le.id not in gone and not last(le.superseded_by)]


def _body(outcome: Forgotten, store: LessonStore, seq: int, criteria: Sequence[str]) -> dict[str, Any]:
    changes = store.changes(seq)
    removed = {change.lesson_id: change for change in changes if change.kind == "forgotten"}
    return {
        "id": new_id(),
        "forgotten_at": datetime.now(UTC).isoformat(),
        "criteria": list(criteria),
        "lessons": [{"id": i, "digest": removed[i].detail, "event": removed[i].seq} for i in outcome.ids],
        "restored": list(outcome.restored),
        "turns": outcome.turns,
        "derived": outcome.derived,
        "adapters": list(outcome.adapters),
        "backups": [_named(backup) for backup in outcome.backups],
        "chain": {"event": changes[-1].seq, "hash": changes[-1].hash},
    }


def _named(backup: Backup) -> dict[str, str]:
    return {"file": Path(backup.path).name, "kind": backup.kind, "action": backup.action}


def _kept(folder: Path, receipt: dict[str, Any]) -> Path:
    path = folder / RECEIPTS / f"{receipt['body']['id']}.json"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            json.dump(receipt, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as cause:
        raise StoreError(
            f"The lessons are forgotten, but the receipt {path} cannot be written: {cause.strerror}.",
            hint="`everlearn lessons audit` shows that the removal is in the chain.",
        ) from cause
    return path

"""Teaching in bulk and by feedback, and the receipts of answers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from everlearn.corpus.documents import is_lesson_file
from everlearn.corpus.lesson_files import LessonLine, read_lessons
from everlearn.errors import ContentFilterError, EverlearnError, InputError
from everlearn.learning.documents import lessons_in_file
from everlearn.records import Feedback, Lesson
from everlearn.server.ablation import ablated
from everlearn.server.caller import Caller, may
from everlearn.server.idempotency import Idempotency, idempotency_of
from everlearn.server.jobs import Progress
from everlearn.server.lesson_shapes import NewLesson, lesson_told, taught_of
from everlearn.server.preferences import keep_feedback
from everlearn.server.room import Room, room_of, tenant_of
from everlearn.server.tenants import Tenant

router = APIRouter(prefix="/v1", tags=["learning"])
InRoom = Annotated[Room, Depends(room_of)]
OfTenant = Annotated[Tenant, Depends(tenant_of)]
Asks = Annotated[Caller, Depends(may("ask"))]
Teaches = Annotated[Caller, Depends(may("teach"))]
MOST_AT_ONCE = 10_000
_MOST_ERRORS = 100
_NO_DOMAIN = "general"
_NOTHING, _ALL = ("", "false", "False"), ("all", "true", "True")


class Bulk(BaseModel):
    """Body of POST /v1/teach: many lessons, or one text."""

    model_config = ConfigDict(extra="forbid")
    lessons: list[NewLesson] = Field(default_factory=list, max_length=MOST_AT_ONCE)
    text: str = ""
    title: str = "Text"
    source: str = ""
    table: str = "default"
    domain: str = "general"
    importance: float = Field(default=0.5, ge=0, le=1)


class Given(BaseModel):
    """Body of POST /v1/feedback: what a user says of an answer."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["right", "wrong"]
    correction: str = ""
    receipt_id: str = ""
    prompt: str = ""
    table: str = "default"
    author: str = ""


@router.post("/teach", status_code=201)
def teach(
    body: Bulk,
    room: InRoom,
    tenant: OfTenant,
    caller: Teaches,
    once: Annotated[Idempotency, Depends(idempotency_of)],
    response: Response,
) -> dict[str, Any]:
    """Teach many lessons at once, or a text whose passages can be asked at once. All is durable when this returns."""

    def learn() -> tuple[int, dict[str, Any]]:
        if bool(body.lessons) == bool(body.text.strip()):
            raise InputError("Wanted: either lessons or a text.", hint='For example {"lessons": [{"prompt": ...}]}.')
        if body.text.strip():
            with room.metrics.teaching(1):
                learned = tenant.learner.learn_from_text(
                    body.text,
                    domain=body.domain,
                    importance=body.importance,
                    title=body.title,
                    source=body.source,
                    table=body.table,
                )
            outcomes = list(learned.taught)
        else:
            room.limits.take_lessons(caller, len(body.lessons))
            with room.metrics.teaching(len(body.lessons)):
                outcomes = tenant.learner.teach_many([lesson.lesson(caller.key_id) for lesson in body.lessons])
        room.metrics.judged(outcomes)
        return 201, {"object": "list", "data": [taught_of(outcome) for outcome in outcomes]}

    response.status_code, told = once.run(body.model_dump(mode="json"), learn)
    return told


@router.post("/teach/file", status_code=202)
def teach_file(
    file: UploadFile,
    room: InRoom,
    tenant: OfTenant,
    caller: Teaches,
    table: Annotated[str | None, Form()] = None,
    domain: Annotated[str, Form()] = "general",
    skip_bad: Annotated[bool, Form()] = True,
    dry_run: Annotated[bool, Form()] = False,
) -> dict[str, Any]:
    """Teach a file: lessons (.jsonl, .json, .csv, .tsv) or a document (.txt, .md, .html, .pdf, .docx, code).

    Gives a job to watch. With `dry_run` nothing is taught: the result says how many lessons there are, and what is
    wrong with which line.
    """
    name = PurePath(file.filename or "upload.txt").name
    if table is not None:
        tenant.engine.memory.table(table)
    aside = tempfile.TemporaryDirectory(prefix="everlearn-upload-")
    path = Path(aside.name) / f"upload{PurePath(name).suffix[:16]}"  # whatever the client calls it
    with path.open("wb") as out:
        while block := file.file.read(1 << 20):
            out.write(block)
    like = Lesson("", "", table or "default", domain, source=name, author=caller.key_id)

    def work(progress: Progress) -> dict[str, Any]:
        with aside, _named(path, name):
            if not is_lesson_file(path):
                passages, skipped = lessons_in_file(path, tenant.engine.text, like)
                if not dry_run:
                    room.limits.take_lessons(caller, len(passages))
                return _document(room, tenant, passages, skipped, progress, dry_run=dry_run)
            lines = [_in_domain(line, domain) for line in read_lessons(path, table=table)]
            if not dry_run:
                room.limits.take_lessons(caller, sum(line.lesson is not None for line in lines))
            return _lessons(room, tenant, lines, progress, skip_bad=skip_bad, dry_run=dry_run)

    return room.jobs.start(tenant.name, "teach", work).told()


def _in_domain(line: LessonLine, domain: str) -> LessonLine:
    """A line whose lesson names no domain gets that of the request."""
    if line.lesson is None or line.lesson.domain != _NO_DOMAIN:
        return line
    return replace(line, lesson=replace(line.lesson, domain=domain))


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Errors inside call the file as its owner does: where it lies on the server is nobody's business."""
    try:
        yield
    except EverlearnError as error:
        error.message = error.message.replace(str(path), name)
        raise


def _document(
    room: Room, tenant: Tenant, passages: Sequence[Lesson], skipped: Sequence[str], progress: Progress, *, dry_run: bool
) -> dict[str, Any]:
    if dry_run:
        shown = [{"prompt": p.prompt, "answer": p.answer, "position": p.position} for p in passages[:20]]
        return {"passages": len(passages), "skipped": list(skipped), "preview": shown}
    learned = tenant.learner.learn_passages(passages, progress=lambda done, total: progress("learning", done, total))
    room.metrics.judged(learned.taught)
    held = sum(outcome.lesson.status == "quarantined" for outcome in learned.taught)
    return {"passages": len(passages), "removed": len(learned.removed), "quarantined": held, "skipped": list(skipped)}


def _lessons(
    room: Room, tenant: Tenant, lines: list[LessonLine], progress: Progress, *, skip_bad: bool, dry_run: bool
) -> dict[str, Any]:
    if not dry_run:
        lines = [_screened(tenant, line) for line in lines]
    good = [line.lesson for line in lines if line.lesson is not None]
    bad = [{"line": line.number, "error": line.error} for line in lines if line.lesson is None]
    told: dict[str, Any] = {"lessons": len(good), "bad": len(bad), "errors": bad[:_MOST_ERRORS]}
    if dry_run:
        return {**told, "preview": [{"prompt": le.prompt, "answer": le.answer} for le in good[:20]]}
    if bad and not skip_bad:
        raise InputError(f"{len(bad)} lines cannot be read, the first is line {bad[0]['line']}: {bad[0]['error']}")
    with room.metrics.teaching(len(good)):
        outcomes = tenant.learner.teach_many(
            good, batch_size=64, progress=lambda done, total: progress("learning", done, total), screened=True
        )
    room.metrics.judged(outcomes)
    known = sum(outcome.known for outcome in outcomes)
    held = sum(outcome.lesson.status == "quarantined" for outcome in outcomes)
    return {**told, "taught": len(outcomes) - known, "known": known, "quarantined": held}


def _screened(tenant: Tenant, line: LessonLine) -> LessonLine:
    """A line whose lesson may not be learned is a bad one; the others are learned all the same."""
    if line.lesson is None:
        return line
    try:
        return replace(line, lesson=tenant.learner.screened(line.lesson))
    except ContentFilterError as error:
        return replace(line, lesson=None, error=error.message)


@router.post("/feedback", status_code=201)
def feedback(body: Given, room: InRoom, tenant: OfTenant, caller: Teaches) -> dict[str, Any]:
    """Say whether an answer is right. Where it is wrong, the right one is learned on the spot.

    With the `receipt_id` of a kept answer it is also kept as a preference: GET /v1/preferences.
    """
    prompt = body.prompt
    if body.receipt_id and not prompt:
        prompt = tenant.engine.memory.store.turn(body.receipt_id).prompt
    if body.verdict == "wrong" and not prompt:
        raise InputError(
            "The question is not known.", hint="Send it as `prompt`, or the `receipt_id` of a kept answer."
        )
    said = Feedback(prompt, body.verdict, body.correction, body.table, body.author or caller.key_id, body.receipt_id)
    with room.metrics.teaching(1):
        taught = tenant.learner.learn_from_feedback(said)
    room.metrics.judged([taught] if taught else [])
    kept = ""
    if body.receipt_id:
        lesson_id = taught.lesson.id if taught else ""
        kept = keep_feedback(tenant, body.receipt_id, body.verdict, lesson_id=lesson_id, author=said.author)
    told = {"object": "feedback", "verdict": body.verdict, "taught": taught_of(taught) if taught else None}
    return {**told, "preference": kept or None}


@router.get("/receipts")
def receipts(tenant: OfTenant, _caller: Asks) -> dict[str, Any]:
    """Signed receipts of what was forgotten, newest first."""
    folder = tenant.folder / "receipts"
    found = sorted(folder.glob("*.json"), reverse=True) if folder.is_dir() else []
    return {"object": "list", "data": [{"id": path.stem, "object": "receipt.forgotten"} for path in found]}


@router.get("/receipts/{receipt_id}")
def receipt(
    receipt_id: str,
    room: InRoom,
    tenant: OfTenant,
    _caller: Asks,
    ablate: Annotated[str, Query(max_length=100, description="id of a lesson, or 'all'")] = "",
) -> dict[str, Any]:
    """What an answer rests on: the lessons with scores and decisions, the adapter; or the receipt of a forgetting.

    With `ablate` the question is asked twice more, sampled as it was then: with everything, and without that lesson (or
    without any memory: `all`). `ablation.changed` says whether the lesson makes the difference.
    """
    forgotten = next(iter((tenant.folder / "receipts").glob(f"{_plain(receipt_id)}.json")), None)
    if forgotten is not None:
        return {"object": "receipt.forgotten", "id": receipt_id, **json.loads(forgotten.read_text("utf-8"))}
    store = tenant.engine.memory.store
    turn = store.turn(receipt_id)
    known = store.lessons_by_id([r.lesson_id for r in turn.receipt.recalled])
    recalled = [
        {**asdict(r), "lesson": lesson_told(known[r.lesson_id]) if r.lesson_id in known else None}
        for r in turn.receipt.recalled
    ]
    told = {"object": "receipt", **asdict(turn.receipt), "recalled": recalled}
    told |= {"prompt": turn.prompt, "answer": turn.answer, "created_at": int(turn.created_at.timestamp())}
    if ablate not in _NOTHING:
        told["ablation"] = ablated(room, tenant, turn, "" if ablate in _ALL else ablate)
    return told


def _plain(name: str) -> str:
    """A name as it can be part of a path: nothing in it leads elsewhere, nothing is a pattern."""
    return "".join(c for c in name if c.isalnum() or c in "-_") or "none"

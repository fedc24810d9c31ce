"""The work of a batch: its lines are answered a few at a time, and each is kept when it is there.

A line rests on the turn of its answer: when a lesson that spoke in it is forgotten, it is gone from the results.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from pydantic import BaseModel, ValidationError

from everlearn.errors import EverlearnError, InputError, OverloadedError
from everlearn.server import chat, files, openai_rest, responses
from everlearn.server.asking import Asker
from everlearn.server.chat_shapes import ChatRequest, CompletionRequest
from everlearn.server.faults import status_of, told
from everlearn.server.jobs import CancelledJobError, Progress
from everlearn.server.openai_rest import EmbeddingRequest
from everlearn.server.response_shapes import ResponseRequest
from everlearn.store.ids import new_id
from everlearn.store.objects import StoredObject

KIND, OUTPUT, ERRORS = "batch", "batch_output", "batch_error"
MOST_LINES = 50_000
_TOGETHER = 8
_MOST_FLAWS = 100

Answered = Callable[[Asker, Any], Awaitable[dict[str, Any]]]
ENDPOINTS: Mapping[str, tuple[type[BaseModel], Answered]] = {
    "/v1/chat/completions": (ChatRequest, chat.completed),
    "/v1/completions": (CompletionRequest, openai_rest.completed),
    "/v1/embeddings": (EmbeddingRequest, openai_rest.embedded),
    "/v1/responses": (ResponseRequest, responses.responded),
}


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A line of a batch that can be asked."""

    custom_id: str
    body: BaseModel


def read_lines(content: bytes, endpoint: str) -> tuple[list[Line], list[dict[str, Any]]]:
    """Lines of a batch file, and what is wrong with those that are none."""
    lines, flaws, seen = list[Line](), list[dict[str, Any]](), set[str]()
    rows = content.splitlines()
    if len(rows) > MOST_LINES:
        return [], [_flaw(None, f"{len(rows):,} lines are more than {MOST_LINES:,}.")]
    for number, row in enumerate(rows, 1):
        if not row.strip():
            continue
        try:
            line = _line(row, endpoint)
            if line.custom_id in seen:
                raise InputError(f"custom_id {line.custom_id!r} was there before.")
        except ValidationError as error:
            first = error.errors()[0]
            flaws.append(_flaw(number, f"body.{'.'.join(map(str, first['loc']))}: {first['msg']}."))
        except InputError as error:
            flaws.append(_flaw(number, str(error)))
        else:
            seen.add(line.custom_id)
            lines.append(line)
    return lines, flaws[:_MOST_FLAWS] if lines or flaws else [_flaw(None, "The file holds no line.")]


def work_on(asker: Asker, batch_id: str, progress: Progress) -> dict[str, Any]:
    """Answer all lines of a batch that were not answered before.

    Raises:
        CancelledJobError: it was cancelled, or the server ends: then it goes on at the next start.
        EverlearnError: the file is not there any more; the batch has failed.
    """
    objects = asker.tenant.objects
    batch = objects.get(KIND, batch_id).body
    try:
        lines, flaws = read_lines(files.bytes_of(asker.tenant, batch["input_file_id"]), batch["endpoint"])
        if flaws:
            told = {"errors": {"object": "list", "data": flaws}}
            return dict(_ended(asker, batch_id, "failed", "failed_at", told))
        objects.change(KIND, batch_id, lambda body: _begun(body, len(lines)))
        known = {
            row.body["custom_id"]
            for kind, file in ((OUTPUT, "output_file_id"), (ERRORS, "error_file_id"))
            for row in objects.listed(kind, parent=batch[file])
        }
        left = [line for line in lines if line.custom_id not in known]
        asyncio.run(
            _answer_all(asker, batch_id, left, lambda done: progress("answering", len(known) + done, len(lines)))
        )
    except CancelledJobError:
        if objects.get(KIND, batch_id).body["status"] == "cancelling":
            _ended(asker, batch_id, "cancelled", "cancelled_at")
        raise
    except EverlearnError as error:
        data = [_flaw(None, str(error), error.code)]
        _ended(asker, batch_id, "failed", "failed_at", {"errors": {"object": "list", "data": data}})
        raise
    return dict(_ended(asker, batch_id, "completed", "completed_at"))


def _begun(body: Mapping[str, Any], total: int) -> Mapping[str, Any]:
    if body["status"] not in ("validating", "in_progress"):
        raise CancelledJobError
    begun = body.get("in_progress_at") or int(time.time())
    return {**body, "status": "in_progress", "in_progress_at": begun, "total": total}


def _ended(
    asker: Asker, batch_id: str, status: str, at: str, more: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    now = int(time.time())

    def ended(body: Mapping[str, Any]) -> Mapping[str, Any]:
        # By way of another server it may have been cancelled since its last line.
        return body if body["status"] == "cancelled" else {**body, **(more or {}), "status": status, at: now}

    return asker.tenant.objects.change(KIND, batch_id, ended).body


def _go_on(asker: Asker, batch_id: str) -> None:
    """Another server on this folder may have been told to cancel it."""
    if asker.tenant.objects.get(KIND, batch_id).body["status"] != "in_progress":
        raise CancelledJobError


async def _answer_all(asker: Asker, batch_id: str, lines: list[Line], tell: Callable[[int], None]) -> None:
    batch = asker.tenant.objects.get(KIND, batch_id).body
    done, gate = 0, asyncio.Semaphore(_TOGETHER)

    async def one(line: Line) -> None:
        nonlocal done
        async with gate:
            tell(done)  # raises where the job was cancelled
            await asyncio.to_thread(_go_on, asker, batch_id)
            kind, row, turn = await _row(asker, batch["endpoint"], line)
            parent = batch["output_file_id" if kind == OUTPUT else "error_file_id"]
            thing = StoredObject(f"{parent}:{new_id()}", kind, row, parent, turn)
            if not await asyncio.to_thread(asker.tenant.objects.put, thing):
                gone = {"code": "forgotten", "message": "A lesson that the answer rested on was forgotten."}
                row = {**row, "response": None, "error": gone}
                await asyncio.to_thread(asker.tenant.objects.put, StoredObject(thing.id, kind, row, parent))
            done += 1

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_quiet(one(line))) for line in lines]
    for task in tasks:
        if (error := task.result()) is not None:
            raise error
    tell(done)


async def _quiet(work: Awaitable[None]) -> CancelledJobError | None:
    """Hand the cancelling of a job on as a value: a task group would wrap it."""
    try:
        await work
    except CancelledJobError as error:
        return error
    return None


async def _row(asker: Asker, endpoint: str, line: Line) -> tuple[str, dict[str, Any], str]:
    """The result of a line: where it belongs, what it holds, and the turn that it rests on."""
    row_id = f"batch_req_{new_id()}"
    try:
        body = await _asked(asker, endpoint, line)
        kind, status, turn = OUTPUT, 200, body.get("learning", {}).get("receipt_id", "")
    except EverlearnError as error:
        status = status_of(error)
        kind, body, turn = ERRORS, told(error), ""
    answer = {"status_code": status, "request_id": f"req_{row_id}", "body": body}
    return kind, {"id": row_id, "custom_id": line.custom_id, "response": answer, "error": None}, turn


async def _asked(asker: Asker, endpoint: str, line: Line) -> dict[str, Any]:
    _, answer = ENDPOINTS[endpoint]
    while True:
        try:
            return await answer(asker, line.body)
        except OverloadedError as error:  # people go first; a batch has time
            await asyncio.sleep(max(0.1, error.retry_after))


def _line(row: bytes, endpoint: str) -> Line:
    try:
        given = json.loads(row)
    except (ValueError, RecursionError) as cause:
        raise InputError("It is no JSON.") from cause
    if not isinstance(given, dict) or not isinstance(given.get("custom_id"), str) or not given["custom_id"]:
        raise InputError("It has no custom_id.")
    if given.get("method", "POST") != "POST" or given.get("url") != endpoint:
        raise InputError(f"It is for {given.get('method')} {given.get('url')}, the batch is for POST {endpoint}.")
    shape, _ = ENDPOINTS[endpoint]
    body = shape.model_validate(given.get("body"))
    if isinstance(body, CompletionRequest) and len(body.prompts) != 1:
        raise InputError("It has several prompts; a line asks one.")
    if getattr(body, "stream", False):
        raise InputError("It wants a stream; a batch has none.")
    return Line(given["custom_id"], body)


def _flaw(line: int | None, message: str, code: str = "invalid_value") -> dict[str, Any]:
    return {"code": code, "line": line, "message": message, "param": None}

"""Ablation: would an answer be another one if a lesson were not there?

The question of a receipt is asked again twice, sampled as it was then: with all that is there now, and with one lesson
passed over. Where the first gives the answer of the receipt, the two differ by that lesson alone. It does not where
the question stood in a conversation, of which only its last message is kept, or where something was taught since.
"""

from __future__ import annotations

from typing import Any

from everlearn.errors import InputError, NotFoundError
from everlearn.records import Answer, Receipt, Turn
from everlearn.server.filters import Filters
from everlearn.server.room import Room
from everlearn.server.tenants import Tenant


def ablated(room: Room, tenant: Tenant, turn: Turn, lesson_id: str) -> dict[str, Any]:
    """What becomes of a kept answer without a lesson, or without any memory where none is named.

    Raises:
        NotFoundError: the question was not kept.
        InputError: the lesson was not looked at for this answer, so it cannot have changed it.
    """
    receipt = turn.receipt
    if not turn.prompt:
        raise NotFoundError("The question of this receipt was not kept.", hint="Start the server with --keep-turns.")
    if lesson_id and lesson_id not in {r.lesson_id for r in receipt.recalled}:
        raise InputError(f"Lesson {lesson_id!r} was not looked at for this answer.", hint="Name one of its `recalled`.")
    control = _asked(tenant, turn.prompt, receipt)
    other = _asked(tenant, turn.prompt, receipt, without=lesson_id, bare=not lesson_id)
    filters = Filters(room, tenant)
    shown = {answer.text: filters.shown(answer.text) for answer in (control, other)}
    return {
        "without": lesson_id or "all",
        "answer": shown[other.text],
        "changed": other.text != control.text,
        "answer_with": shown[control.text],
        "reproduced": shown[control.text] == turn.answer,
        "sampling_known": receipt.sampling is not None,
        "rests_on": [r.lesson_id for r in other.receipt.rests_on],
    }


def _asked(tenant: Tenant, prompt: str, receipt: Receipt, *, without: str = "", bare: bool = False) -> Answer:
    engine = tenant.engine
    there = {info.name for info in engine.memory.tables()}
    tables = () if bare else tuple(name for name in receipt.tables if name in there)
    adapter = "" if bare and engine.specialists is not None else receipt.adapter or None
    passed = (without,) if without else ()
    return engine.answer(
        prompt, tables=tables, sampling=receipt.sampling, adapter=adapter, as_of=receipt.as_of, without=passed
    )

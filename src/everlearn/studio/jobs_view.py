"""Jobs as HTML: how far, how long, what came of it."""

from __future__ import annotations

import time
from typing import Any

from everlearn.studio.markup import button, notice, plain

ENDED = frozenset({"succeeded", "failed", "cancelled"})


def job(told: dict[str, Any]) -> str:
    """A job under way as a bar with its stage and the time left; an ended one as a sentence."""
    if told["status"] == "failed":
        error = told.get("error") or {}
        return notice(f"Failed: {error.get('message', '')} {error.get('hint', '')}".strip(), "bad")
    if told["status"] == "cancelled":
        return notice("Stopped. What it had committed stays.", "wait")
    if told["status"] == "succeeded":
        return notice(f"Done in {_time(told['ended_at'] - told['created_at'])}.")
    done, total = told["done"], told["total"]
    share = done / total if total else 0.0
    words = f"{told['stage'] or told['status']}: {done:,} of {total:,}" if total else told["stage"] or told["status"]
    spent = time.time() - told["created_at"]
    return (
        f'<div class="el-card"><p class="el-heading">{plain(told["kind"])}: {plain(words)}</p>'
        f'<div class="el-bar" role="progressbar" aria-label="{plain(told["kind"])}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{share * 100:.0f}"><div style="width:{share * 100:.1f}%"></div></div>'
        f'<p class="el-dim">{_time(spent)} so far</p>{button("Stop it", "cancel", told["id"])}</div>'
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

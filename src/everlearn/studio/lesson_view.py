"""Lessons as HTML: a page of them, the history of one, what forgetting would do and did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everlearn.studio.markup import button, empty, notice, plain, table

PAGE = 25
_STATUS = {"active": "el-yes", "quarantined": "el-no"}


def lessons(rows: Sequence[dict[str, Any]], total: int, page: int, *, filtered: bool) -> str:
    """A page of lessons, newest first.

    Args:
        rows: as the API tells them.
        total: how many there are in all.
        page: 0 = the newest.
        filtered: whether a search or filter is set, which an empty page then speaks of.
    """
    if not total and filtered:
        return empty("Nothing fits.", "Take a word out of the search, or choose another table or status.")
    if not total:
        return empty(
            "Nothing taught yet.",
            "Add a lesson, import a file (tab Add and import), or correct an answer in Chat.",
            button("Teach the demo facts", "demo"),
        )
    heads = ("Question", "Answer", "Table", "Status", "Taught", "")
    shown = table(heads, [_row(lesson) for lesson in rows], label="Lessons")
    first = page * PAGE + 1
    return f'<p class="el-dim">{first:,} to {first + len(rows) - 1:,} of {total:,}, newest first</p>{shown}'


def _row(lesson: dict[str, Any]) -> tuple[str, ...]:
    id_, prompt = lesson["id"], lesson["prompt"]
    acts = [
        button("Edit", "change", id_, described=f"Edit the lesson {prompt}"),
        button("History", "history", id_, described=f"History of the lesson {prompt}"),
        button("Propose", "propose", id_, described=f"Propose the lesson {prompt} for another table"),
        button("Forget", "forget", id_, kind="el-danger", described=f"Forget the lesson {prompt}"),
    ]
    where = f"{plain(lesson['table'])}<br><span class='el-dim'>{plain(lesson['domain'])}</span>"
    cells = (question(lesson), plain(_short(lesson["answer"])), where, status(lesson), plain(_day(lesson["taught_at"])))
    return (*cells, f'<div class="el-acts">{"".join(acts)}</div>')


def question(lesson: dict[str, Any]) -> str:
    """The question of a lesson, with where it comes from."""
    more = [lesson["source"]] if lesson["source"] else []
    times = [f"from {_day(lesson['valid_from'])}"] if lesson.get("valid_from") else []
    times += [f"until {_day(lesson['valid_to'])}"] if lesson.get("valid_to") else []
    dim = f'<br><span class="el-dim">{plain(", ".join(more + times))}</span>' if more or times else ""
    return plain(_short(lesson["prompt"])) + dim


def status(lesson: dict[str, Any]) -> str:
    """The status of a lesson as a mark."""
    return f'<span class="el-tag {_STATUS.get(lesson["status"], "")}">{plain(lesson["status"])}</span>'


def history(rows: Sequence[dict[str, Any]]) -> str:
    """What a lesson said over time, oldest first."""
    items = []
    for lesson in rows:
        now = ' class="el-now"' if lesson["status"] == "active" else ""
        undo = button("Take this correction back", "undo", lesson["id"]) if lesson is rows[-1] and len(rows) > 1 else ""
        by = f" by {plain(lesson['author'])}" if lesson["author"] else ""
        items.append(
            f"<li{now}><b>{plain(lesson['answer'])}</b> {status(lesson)}<br>{question(lesson)}"
            f'<br><span class="el-dim">taught {plain(_day(lesson["taught_at"]))}{by}</span> {undo}</li>'
        )
    return f'<p class="el-heading">History</p><ol class="el-line">{"".join(items)}</ol>'


def forgetting(told: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """What forgetting would remove: asked once before it is done."""
    if not told["count"]:
        return notice("Nothing fits: there is nothing to forget.", "wait")
    shown = "".join(f"<li>{plain(_short(r['prompt']))} <b>{plain(_short(r['answer']))}</b></li>" for r in rows[:10])
    more = f"<li>and {told['count'] - 10:,} more</li>" if told["count"] > 10 else ""
    parts = [f"{told['derived']} derived rows", f"{told['turns']} kept answers that rest on it"]
    parts += [f"adapters trained on it: {', '.join(told['adapters'])}"] if told["adapters"] else []
    parts += [f"{len(told['backups'])} checkpoints or exports"] if told["backups"] else []
    back = f" {len(told['restored'])} older answer speaks again." if told["restored"] else ""
    head = f"Forget {told['count']:,} lesson{'s' * (told['count'] != 1)} for good? It cannot be undone."
    return (
        f'<div class="el-notice el-bad" role="alert"><p class="el-heading">{plain(head)}</p><ul>{shown}{more}</ul>'
        f"<p>It goes with: {plain(', '.join(parts))}.{plain(back)}</p></div>"
    )


def forgotten(told: dict[str, Any]) -> str:
    """The receipt of a forgetting."""
    count = told["count"]
    return (
        f'<div class="el-notice el-good" role="status">Forgotten: {count:,} lesson{"s" * (count != 1)}. Signed receipt '
        f"<code>{plain(told['receipt'] or 'none')}</code>; <code>everlearn receipts verify</code> checks it.</div>"
    )


def _short(text: str, most: int = 220) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()} ..."


def _day(moment: str | None) -> str:
    return "" if not moment else moment[:16].replace("T", " ")

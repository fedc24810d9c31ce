"""Knowledge: what waits for somebody: answers that contradict each other, lessons held back, proposals."""

from __future__ import annotations

from typing import Any

import gradio as gr

from everlearn.studio.client import Api
from everlearn.studio.faults import told
from everlearn.studio.lesson_view import question, status
from everlearn.studio.markup import button, empty, notice, plain, table
from everlearn.studio.page import Desk, act_of, panel

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def conflicts(desk: Desk, place: gr.Tab, opened: gr.Textbox) -> None:
    """Answers to one question that stand beside each other; one may be forgotten or edited."""

    async def look(key: str) -> str:
        pairs = (await desk.api(key).get("/v1/lessons/conflicts"))["data"]
        return conflicts_shown(pairs)

    async def reflect(key: str) -> Any:
        api = desk.api(key)
        begun = await api.post("/v1/lessons/reflect")
        async for job in api.watch(begun["id"]):
            if job["status"] == "succeeded":
                yield reflected(job["result"])
            else:
                yield notice(f"Looking: {job['done']} of {job['total']}", "wait")

    shown, found = panel(id_="conflicts"), panel(id_="reflected")
    go = gr.Button("Look for contradictions and duplicates that nobody noticed", elem_id="reflect-go")
    place.select(told(look), desk.key, shown, **QUIET)
    go.click(told(reflect), desk.key, found, **QUIET)
    for part in (shown, found):
        part.click(_opening, None, opened, **QUIET)


def conflicts_shown(pairs: list[list[dict[str, Any]]]) -> str:
    """Pairs of lessons, the newer first."""
    if not pairs:
        return empty("No conflicts.", "Two answers to one question that are both kept would be listed here.")
    rows = [(question(new), plain(new["answer"]), plain(old["answer"]), _open(new), _open(old)) for new, old in pairs]
    return table(("Question", "Newer answer", "Older answer", "", " "), rows, label="Conflicts")


def reflected(result: dict[str, Any]) -> str:
    """What a look through all lessons found."""
    parts = [notice(f"Looked at {result['looked_at']:,} lessons.")]
    for name in ("contradictions", "duplicates"):
        rows = [
            (question(p["newer"]), plain(p["newer"]["answer"]), plain(p["older"]["answer"]), f"{p['probability']:.2f}")
            for p in result[name]
        ]
        heads = ("Question", "Newer answer", "Older answer", "Probability")
        parts.append(f"<p class='el-heading'>{len(rows)} {name}</p>" + (table(heads, rows, label=name) if rows else ""))
    stale = [(question(each), plain(each["answer"]), status(each), _open(each)) for each in result["stale"]]
    heads = ("Question", "Answer", "Status", "")
    parts.append(f"<p class='el-heading'>{len(stale)} whose time is over</p>")
    return "".join(parts) + (table(heads, stale, label="Lessons whose time is over") if stale else "")


def quarantine(desk: Desk, place: gr.Tab) -> None:
    """Lessons held back, with the reason; each is released or forgotten."""

    async def look(key: str) -> str:
        return quarantine_shown((await desk.api(key).get("/v1/lessons/quarantine"))["data"])

    async def act(event: gr.EventData, key: str) -> tuple[str, str]:
        act, of = act_of(event)
        api, said = desk.api(key), ""
        if act == "release":
            await api.post(f"/v1/lessons/{of}/release")
            said = notice("Released: it is recalled from the next question on.")
        elif act == "forget":
            done = await api.delete(f"/v1/lessons/{of}")
            said = notice(f"Forgotten, receipt {done['receipt']}.")
        return said, await look(key)

    said, shown = panel(id_="quarantine-said"), panel(id_="quarantine")
    place.select(told(look), desk.key, shown, **QUIET)
    shown.click(told(act), desk.key, [said, shown], **QUIET)


def quarantine_shown(rows: list[dict[str, Any]]) -> str:
    """Lessons held back."""
    if not rows:
        return empty(
            "Nothing is held back.", "Lessons that look like poison wait here until somebody has looked at them."
        )
    cells = [
        (
            question(row),
            plain(row["answer"][:300]),
            plain(row["quarantine"]),
            f'<div class="el-acts">{button("Release", "release", row["id"])}'
            f"{button('Forget', 'forget', row['id'], kind='el-danger')}</div>",
        )
        for row in rows
    ]
    return table(("Question", "Answer", "Why it is held back", ""), cells, label="Lessons held back")


def promotion(desk: Desk, place: gr.Tab) -> gr.Dropdown:
    """Proposals to take a lesson into a table of a higher layer; gives the dropdown of tables."""

    async def look(key: str) -> str:
        return proposals_shown((await desk.api(key).get("/v1/proposals"))["data"])

    async def propose(lesson: str, target: str, why: str, key: str) -> tuple[str, str]:
        body = {"lesson_id": (lesson or "").strip(), "table": target, "reason": why or ""}
        await desk.api(key).post("/v1/proposals", body)
        return notice("Proposed; somebody with an admin's key decides."), await look(key)

    async def act(event: gr.EventData, key: str) -> tuple[str, str]:
        act, of = act_of(event)
        said = ""
        if act in ("accept", "reject"):
            await desk.api(key).post(f"/v1/proposals/{of}/{act}", {})
            said = notice("Accepted: the lesson is in the higher table." if act == "accept" else "Rejected.")
        return said, await look(key)

    said, shown = panel(id_="proposals-said"), panel(id_="proposals")
    with gr.Row():
        lesson = gr.Textbox(label="Id of the lesson", elem_id="propose-lesson")
        target = gr.Dropdown(["default"], value="default", label="For the table", elem_id="propose-table")
        why = gr.Textbox(label="Why", elem_id="propose-why")
        go = gr.Button("Propose", elem_id="propose-go", min_width=100)
    place.select(told(look), desk.key, shown, **QUIET)
    go.click(told(propose), [lesson, target, why, desk.key], [said, shown], **QUIET)
    shown.click(told(act), desk.key, [said, shown], **QUIET)
    return target


def proposals_shown(rows: list[dict[str, Any]]) -> str:
    """Proposals, those that wait with buttons."""
    if not rows:
        return empty("No proposals.", "Press Propose beside a lesson, copy its id, and name the table it should be in.")
    cells = []
    for row in rows:
        acts = button("Accept", "accept", row["id"]) + button("Reject", "reject", row["id"])
        wait = row["status"] == "pending"
        cells.append(
            (
                f"<code>{plain(row['lesson_id'])}</code>",
                plain(row["table"]),
                plain(row["reason"]),
                plain(row["author"]),
                f'<div class="el-acts">{acts}</div>' if wait else plain(row["status"]),
            )
        )
    return table(("Lesson", "For the table", "Why", "By", ""), cells, label="Proposals")


async def tables_told(api: Api) -> list[dict[str, Any]]:
    """All tables."""
    found: list[dict[str, Any]] = (await api.get("/v1/tables"))["data"]
    return found


def _open(lesson: dict[str, Any]) -> str:
    return button("Open", "open", lesson["id"], described=f"Open the lesson that answers {lesson['answer']}")


def _opening(event: gr.EventData) -> Any:
    act, of = act_of(event)
    return of if act == "open" else gr.skip()

"""Knowledge, Lessons: find, add, edit (history kept), forget with a preview and a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import gradio as gr

from everlearn.studio import lesson_view
from everlearn.studio.client import Api, ApiError
from everlearn.studio.faults import told
from everlearn.studio.lesson_calls import FIELDS, Filter, learned, page_of, save, teach_demo, would_forget
from everlearn.studio.markup import notice
from everlearn.studio.page import Desk, act_of, panel

KEEP = gr.skip()
STATUSES = [("any status", ""), "active", "superseded", "quarantined"]
ANY_TABLE = ("all tables", "")
CONFLICTS = [
    ("replaces the older answer", "supersede"), ("stands beside it", "keep_both"), ("is refused", "reject"),
]  # fmt: skip


@final
@dataclass(frozen=True, slots=True)
class LessonsTab:
    """The parts that others reach.

    Attributes:
        table: filter by table, whose choices come from the server.
        target: where a new lesson goes, likewise.
        refresh: press it to look anew.
        inputs: of the handler that lists.
        outputs: of it.
        list: the handler that lists.
        show: the handler that opens a lesson by its id.
        opened: its outputs.
    """

    table: gr.Dropdown
    target: gr.Dropdown
    inputs: list[Any]
    outputs: list[Any]
    list: Any
    show: Any
    opened: list[Any]


@final
class _Lessons:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, key: str, page: int, *wanted: str) -> tuple[Any, ...]:
        """A page."""
        filter_ = Filter(*(value or "" for value in wanted))
        rows, total, page = await page_of(self._desk.api(key), filter_, page)
        return lesson_view.lessons(rows, total, page, filtered=filter_.is_set), page

    async def turn(self, step: int, key: str, page: int, *wanted: str) -> tuple[Any, ...]:
        """The next page, or the one before."""
        return await self.list(key, max(0, page + step), *wanted)

    async def act(self, event: gr.EventData, key: str) -> tuple[Any, ...]:
        """Whatever a button of a row asks for; gives (notice, forget group, forget text, wanted, editor ...)."""
        act, of = act_of(event)
        api = self._desk.api(key)
        closed: tuple[Any, ...] = (gr.update(visible=False), "", {})
        said, forgetting, edited = KEEP, (KEEP,) * 3, (KEEP,) * (len(FIELDS) + 2)
        if act == "change":
            forgetting, edited = closed, await self.editor(api, of)
        elif act == "history":
            said, forgetting = lesson_view.history((await api.get(f"/v1/lessons/{of}/history"))["data"]), closed
        elif act == "forget":
            said, forgetting = "", await self.preview(api, {"ids": [of]})
        elif act == "undo":
            await api.post(f"/v1/lessons/{of}/undo")
            said = notice("Taken back: what it had replaced speaks again.")
        elif act == "demo":
            said = notice(f"Taught {await teach_demo(api)} demo facts.")
        elif act == "propose":
            said = notice(f"To propose it, copy this id to the Promotion tab: {of}", "wait")
        return said, *forgetting, *edited

    async def preview(self, api: Api, wanted: dict[str, Any]) -> tuple[Any, ...]:
        """What forgetting would do, to be confirmed."""
        told_, rows = await would_forget(api, wanted)
        return gr.update(visible=True), lesson_view.forgetting(told_, rows), wanted if told_["count"] else {}

    async def preview_filtered(self, key: str, *wanted: str) -> tuple[Any, ...]:
        """The same for all lessons that the filter shows."""
        filter_ = Filter(*(value or "" for value in wanted))
        if not filter_.is_set:
            raise ApiError(
                "No filter is set, so this would forget everything.", hint="Search, or choose a table, first."
            )
        if filter_.status:
            raise ApiError("Lessons are not forgotten by their status.", hint="Choose any status.")
        body = {"text": filter_.text, "table": filter_.table, "domain": filter_.domain, "source": filter_.source}
        return await self.preview(self._desk.api(key), body)

    async def forget(self, wanted: dict[str, Any], key: str) -> tuple[Any, ...]:
        """Do it."""
        if not wanted:
            raise ApiError("Nothing was chosen to be forgotten.", hint="Press Forget beside a lesson.")
        done = await self._desk.api(key).post("/v1/lessons/forget", wanted)
        return lesson_view.forgotten(done), gr.update(visible=False), "", {}

    async def editor(self, api: Api, id_: str) -> tuple[Any, ...]:
        """The editor filled with a lesson: (group, id, fields ...)."""
        lesson = await api.get(f"/v1/lessons/{id_}")
        return gr.update(open=True, label="Edit this lesson"), id_, *(lesson.get(name) or "" for name in FIELDS)

    async def show(self, id_: str, key: str) -> tuple[Any, ...]:
        """Open a lesson that was chosen elsewhere."""
        if not id_:
            return KEEP, *((KEEP,) * (len(FIELDS) + 2))
        api = self._desk.api(key)
        rows = (await api.get(f"/v1/lessons/{id_}/history"))["data"]
        return lesson_view.history(rows), *await self.editor(api, id_)

    async def save(self, key: str, id_: str, table: str, conflict: str, *values: Any) -> tuple[Any, ...]:
        """Teach what stands in the editor."""
        outcome = await save(self._desk.api(key), id_, table, conflict, values)
        return notice(*learned(outcome)), gr.update(open=False, label="Add a lesson"), "", *_blank()


def build(desk: Desk) -> LessonsTab:
    """Lay it out and connect it."""
    do, page, wanted = _Lessons(desk), gr.State(0), gr.State({})
    with gr.Row():
        text = gr.Textbox(
            label="Search", placeholder="words of a question or an answer", elem_id="lessons-search", scale=2
        )
        table = gr.Dropdown([ANY_TABLE], value="", label="Table", elem_id="lessons-table")
        status = gr.Dropdown(STATUSES, value="", label="Status", elem_id="lessons-status")
        domain = gr.Textbox(label="Domain", elem_id="lessons-domain", min_width=100)
        source = gr.Textbox(label="Source", elem_id="lessons-source", min_width=100)
    said = panel(id_="lessons-said")
    with gr.Column(visible=False, elem_id="lessons-forget") as forgetting:
        preview = panel(id_="lessons-preview")
        with gr.Row():
            sure = gr.Button("Forget for good", variant="stop", elem_id="lessons-sure")
            keep = gr.Button("Keep", elem_id="lessons-keep")
    editor, id_, target, conflict, fields, saved, clear = _editor()
    rows = panel(id_="lessons-rows")
    with gr.Row(elem_classes="el-tight"):
        newer = gr.Button("Newer", elem_id="lessons-newer", min_width=80)
        older = gr.Button("Older", elem_id="lessons-older", min_width=80)
        many = gr.Button("Forget all that fit the filter", elem_id="lessons-forget-all", min_width=160)
    filters = [text, table, status, domain, source]
    inputs, outputs, quiet = [desk.key, page, *filters], [rows, page], {"api_visibility": "private"}
    look = told(do.list)
    edited = [editor, id_, *fields]
    forget_outs = [forgetting, preview, wanted]
    for each in filters:
        each.change(look, inputs, outputs, show_progress="hidden", trigger_mode="always_last", **quiet)
    newer.click(told(_turning(do, -1)), inputs, outputs, **quiet)
    older.click(told(_turning(do, 1)), inputs, outputs, **quiet)
    acted = rows.click(told(do.act), [desk.key], [said, *forget_outs, *edited], show_progress="hidden", **quiet)
    undone = said.click(told(do.act), [desk.key], [said, *forget_outs, *edited], show_progress="hidden", **quiet)
    many.click(told(do.preview_filtered), [desk.key, *filters], forget_outs, **quiet)
    gone = sure.click(told(do.forget), [wanted, desk.key], [said, *forget_outs], **quiet)
    keep.click(lambda: (gr.update(visible=False), "", {}), None, forget_outs, **quiet)
    taught = saved.click(told(do.save), [desk.key, id_, target, conflict, *fields], [said, *edited], **quiet)
    clear.click(lambda: ("", *_blank()), None, [id_, *fields], **quiet)
    for event in (acted, undone, gone, taught):
        event.then(look, inputs, outputs, show_progress="hidden", **quiet)
    return LessonsTab(table, target, inputs, outputs, look, told(do.show), [said, *edited])


def _editor() -> tuple[Any, ...]:
    with gr.Accordion("Add a lesson", open=False, elem_id="lessons-editor") as editor:
        id_ = gr.State("")
        with gr.Row():
            prompt = gr.Textbox(label="Question", elem_id="lesson-prompt", max_lines=4, scale=2)
            answer = gr.Textbox(label="Answer", elem_id="lesson-answer", max_lines=4, scale=2)
        with gr.Row():
            target = gr.Dropdown(["default"], value="default", label="Table (of a new one)", elem_id="lesson-table")
            conflict = gr.Dropdown(CONFLICTS, value="supersede", label="Where it contradicts an older one, it",
                                   elem_id="lesson-conflict")  # fmt: skip
            domain = gr.Textbox(label="Domain", value="general", elem_id="lesson-domain", min_width=120)
            importance = gr.Slider(0, 1, 0.5, step=0.05, label="Importance", elem_id="lesson-importance")
        with gr.Row():
            source = gr.Textbox(label="Source", elem_id="lesson-source", min_width=120)
            begin = gr.Textbox(
                label="True from", placeholder="2018 or 2018-04-01", elem_id="lesson-from", min_width=120
            )
            end = gr.Textbox(label="True until", placeholder="still", elem_id="lesson-to", min_width=120)
        with gr.Row(elem_classes="el-tight"):
            saved = gr.Button("Teach", variant="primary", elem_id="lesson-save", min_width=80)
            clear = gr.Button("Empty the form", elem_id="lesson-clear", min_width=80)
    return editor, id_, target, conflict, [prompt, answer, domain, importance, source, begin, end], saved, clear


def _blank() -> Sequence[Any]:
    return ("", "", "general", 0.5, "", "", "")


def _turning(do: _Lessons, step: int) -> Any:
    async def turned(key: str, page: int, *wanted: str) -> tuple[Any, ...]:
        return await do.turn(step, key, page, *wanted)

    return turned

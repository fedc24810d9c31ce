"""Knowledge: everything that was taught, and what can be done with it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from everlearn.studio import import_tab, lessons_tab, map_tab, queues_tab, tables_tab
from everlearn.studio.faults import told
from everlearn.studio.page import Desk
from everlearn.studio.queues_tab import QUIET, tables_told


def build(desk: Desk, place: gr.Tab, opened: gr.Textbox) -> None:
    """Lay the tab out and connect it; a lesson whose id comes into `opened` is shown."""
    with gr.Tabs(elem_id="knowledge") as inner:
        with gr.Tab("Lessons", id="lessons") as list_place:
            lessons = lessons_tab.build(desk)
        with gr.Tab("Add and import", id="import"):
            target, source = import_tab.build(desk)
        with gr.Tab("Map", id="map"):
            mapped = map_tab.build(desk, opened)
        with gr.Tab("Conflicts", id="conflicts") as place_:
            queues_tab.conflicts(desk, place_, opened)
        with gr.Tab("Quarantine", id="quarantine") as place_:
            queues_tab.quarantine(desk, place_)
        with gr.Tab("Promotion", id="promotion") as place_:
            promoted = queues_tab.promotion(desk, place_)
        with gr.Tab("Tables", id="tables") as place_:
            changed = tables_tab.build(desk, place_)

    async def names(key: str) -> tuple[Any, ...]:
        found = [row["name"] for row in await tables_told(desk.api(key))] or ["default"]
        filters = gr.update(choices=[lessons_tab.ANY_TABLE, *found])
        return filters, filters, *((gr.update(choices=found),) * 4)

    outputs = [lessons.table, mapped, lessons.target, target, source, promoted]
    for event in (place.select, *(each.then for each in changed)):
        event(told(names), desk.key, outputs, **QUIET)
    for event in (place.select, list_place.select):
        event(lessons.list, lessons.inputs, lessons.outputs, **QUIET)
    shown = opened.change(lessons.show, [opened, desk.key], lessons.opened, **QUIET)
    shown.then(lambda: gr.update(selected="lessons"), None, inner, **QUIET)

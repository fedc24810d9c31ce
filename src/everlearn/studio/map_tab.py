"""Knowledge, Map: which lessons lie near each other."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import gradio as gr
import numpy as np

from everlearn.studio.faults import told
from everlearn.studio.markup import empty, plain
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.plots import COLOURS
from everlearn.studio.queues_tab import QUIET

SCRIPT = files("everlearn.studio").joinpath("map.js").read_text("utf-8")
MOST_NAMED = 12
_ID = 26  # letters of a lesson's id
_START = empty(
    "No map yet.", "Press Draw the map: each lesson becomes a point, lessons that mean the like lie together."
)
_WORDS = "Near = their questions mean the like. Point at one to read it, press it to open it; drag to move a near view."


def build(desk: Desk, opened: gr.Textbox) -> gr.Dropdown:
    """Lay it out and connect it; gives the dropdown of tables. A click on a point opens its lesson."""

    async def draw(table: str, by: str, key: str) -> tuple[str, Any, str]:
        found = await desk.api(key).get("/v1/map", table=table, by=by)
        return drawn(found), np.array(found["ids"], f"S{_ID}"), ""

    async def peek(event: gr.EventData, ids: Any, key: str) -> Any:
        act, of = act_of(event)
        return lesson(await desk.api(key).get(f"/v1/lessons/{named(ids, of)}")) if act == "peek" else gr.skip()

    def chosen(event: gr.EventData, ids: Any) -> Any:
        act, of = act_of(event)
        return named(ids, of) if act == "open" else gr.skip()

    with gr.Row():
        table = gr.Dropdown([("all tables", "")], value="", label="Table", elem_id="map-table")
        by = gr.Radio(["domain", "table", "source", "author"], value="domain", label="Coloured by", elem_id="map-by")
        go = gr.Button("Draw the map", variant="primary", elem_id="map-go")
    ids = gr.State(None)
    read = panel(id_="map-read")
    shown = panel(_START, id_="map-shown", script=SCRIPT)
    go.click(told(draw), [table, by, desk.key], [shown, ids, read], api_visibility="private")
    shown.click(told(peek), [ids, desk.key], read, trigger_mode="always_last", **QUIET)
    shown.click(chosen, ids, opened, **QUIET)
    return table


def named(ids: Any, of: str) -> str:
    """The id of the lesson that a point stands for."""
    return bytes(ids[int(of)]).decode("ascii")


def drawn(found: Mapping[str, Any]) -> str:
    """The map as a canvas that its script fills; where there are no two points, what to do about it."""
    count = len(found["ids"])
    if count < 2:
        return empty("Too few lessons for a map.", "Teach at least two; the demo facts are under Lessons.")
    hues = [COLOURS[min(n, len(COLOURS) - 1)] for n in range(len(found["groups"]))]
    legend = "".join(
        f'<span class="el-tag" style="border-color:{hue};border-width:2px">{plain(name)}</span> '
        for name, hue in list(zip(found["groups"], hues, strict=True))[:MOST_NAMED]
    )
    zooms = "".join(
        f'<button type="button" class="el-btn" data-zoom="{factor}">{words}</button>'
        for words, factor in (("Nearer", 2), ("Farther", 0.5), ("All of it", 0.001))
    )
    left = f" The newest of {found['total']:,} are drawn." if found["total"] > count else ""
    return (
        f'<div class="el-card"><canvas class="el-map" role="img" aria-label="Map of {count:,} lessons" '
        f'data-points="{packed(found)}" data-hues="{plain(json.dumps(hues))}"></canvas>'
        f'<div class="el-acts">{zooms}</div><p>{legend}</p>'
        f'<p class="el-dim">{count:,} lessons. {_WORDS}{left}</p></div>'
    )


def packed(found: Mapping[str, Any]) -> str:
    """Points as base64 of 5 bytes each: x and y of 16 bits, the group of 8."""
    points = np.empty(len(found["ids"]), dtype=[("x", "<u2"), ("y", "<u2"), ("group", "u1")])
    for name in ("x", "y", "group"):
        points[name] = found[name]
    return base64.b64encode(points.tobytes()).decode("ascii")


def lesson(row: Mapping[str, Any]) -> str:
    """The lesson under the pointer."""
    where = f"{row['table']}, {row['domain']}" + (f", {row['source']}" if row["source"] else "")
    answer = plain(row["answer"][:300])
    return f'<p>{plain(row["prompt"])} <b>{answer}</b> <span class="el-dim">{plain(where)}</span></p>'

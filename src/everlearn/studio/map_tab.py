"""Knowledge, Map: which lessons lie near each other."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import numpy as np

from everlearn.studio.client import Api
from everlearn.studio.faults import told
from everlearn.studio.markup import empty, plain
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.plots import Point, scatter
from everlearn.studio.projection import plane

MOST_POINTS = 3000
_PAGE = 1000
_START = empty(
    "No map yet.", "Press Draw the map: each lesson becomes a point, lessons that mean the like lie together."
)


def build(desk: Desk, opened: gr.Textbox) -> gr.Dropdown:
    """Lay it out and connect it; gives the dropdown of tables. A click on a point opens its lesson."""

    async def draw(table: str, by: str, key: str) -> str:
        return await drawn(desk.api(key), table, by)

    def chosen(event: gr.EventData) -> Any:
        act, of = act_of(event)
        return of if act == "open" else gr.skip()

    with gr.Row():
        table = gr.Dropdown([("all tables", "")], value="", label="Table", elem_id="map-table")
        by = gr.Radio(["domain", "table", "source"], value="domain", label="Coloured by", elem_id="map-by")
        go = gr.Button("Draw the map", variant="primary", elem_id="map-go")
    shown = panel(_START, id_="map-shown")
    go.click(told(draw), [table, by, desk.key], shown, api_visibility="private")
    shown.click(chosen, None, opened, show_progress="hidden", api_visibility="private")
    return table


async def drawn(api: Api, table: str, by: str) -> str:
    """The map of a table's lessons, of the newest ones where there are too many."""
    total = int((await api.get("/v1/lessons", table=table, status="active", limit=1))["total"])
    rows: list[dict[str, Any]] = []
    offset = max(0, total - MOST_POINTS)
    while len(rows) < min(total, MOST_POINTS):
        page = await api.get("/v1/lessons", table=table, status="active", limit=_PAGE, offset=offset + len(rows))
        rows += page["data"]
        if not page["data"]:
            break
    rows = [row for row in rows if row["prompt"].strip()]
    if len(rows) < 2:
        return empty("Too few lessons for a map.", "Teach at least two; the demo facts are under Lessons.")
    vectors: list[list[float]] = []
    for n in range(0, len(rows), _PAGE):
        texts = [row["prompt"] for row in rows[n : n + _PAGE]]
        told_ = await api.post("/v1/embeddings", {"model": "everlearn", "input": texts})
        vectors += [each["embedding"] for each in told_["data"]]
    where = await asyncio.to_thread(plane, np.asarray(vectors, np.float32))
    points = [
        Point(float(x), float(y), f"{row['prompt']} {row['answer'][:120]}", str(row[by] or "none"), row["id"])
        for (x, y), row in zip(where, rows, strict=True)
    ]
    left = (
        f" The newest {len(rows):,} of {total:,} are drawn; more would make the page slow." if total > len(rows) else ""
    )
    words = (
        f"{len(rows):,} lessons. Near = their questions mean the like. Point at one to read it, click to open it.{left}"
    )
    return scatter(points, label=f"Map of {len(rows)} lessons") + f'<p class="el-dim">{plain(words)}</p>'

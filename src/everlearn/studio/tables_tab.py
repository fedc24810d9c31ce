"""Knowledge, Tables: look-up tables with their settings."""

from __future__ import annotations

from typing import Any

import gradio as gr

from everlearn.studio.client import ApiError
from everlearn.studio.faults import told
from everlearn.studio.markup import button, empty, notice, plain, table
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.queues_tab import QUIET, tables_told


def build(desk: Desk, place: gr.Tab) -> list[Any]:
    """Lay it out and connect it; gives events after which there may be other tables."""

    async def look(key: str) -> str:
        return tables_shown(await tables_told(desk.api(key)))

    async def save(name: str, threshold: float, residual: float, sparsity: float, key: str) -> tuple[str, str]:
        api, name = desk.api(key), (name or "").strip()
        if not name:
            raise ApiError("The table has no name.", hint="Write one, such as support.")
        values = {"threshold": threshold, "residual": residual, "sparsity": sparsity}
        there = any(row["name"] == name for row in await tables_told(api))
        if there:
            await api.patch(f"/v1/tables/{name}", values)
        else:
            await api.post("/v1/tables", {"name": name, **values})
        said = "Changed; it holds from the next question on." if there else f"There is a table {name} now."
        return notice(said), await look(key)

    async def act(event: gr.EventData, key: str) -> tuple[Any, ...]:
        act, of = act_of(event)
        if act == "drop":
            ask = f"Delete the table {of} and forget all its lessons for good?"
            return notice(ask, "bad"), gr.update(visible=True), of, *((gr.skip(),) * 4)
        if act == "fill":
            row = await desk.api(key).get(f"/v1/tables/{of}")
            values = [row["settings"][n] for n in ("threshold", "residual", "sparsity")]
            return "", gr.update(visible=False), "", of, *values
        return (gr.skip(),) * 7

    async def drop(name: str, key: str) -> tuple[Any, ...]:
        done = await desk.api(key).delete(f"/v1/tables/{name}")
        return notice(f"Deleted, {done['count']} lessons forgotten."), gr.update(visible=False), "", await look(key)

    said, wanted = panel(id_="tables-said"), gr.State("")
    with gr.Row(visible=False) as asked:
        sure = gr.Button("Delete for good", variant="stop", elem_id="table-sure")
        keep = gr.Button("Keep", elem_id="table-keep")
    shown = panel(id_="tables")
    with gr.Row():
        name = gr.Textbox(label="Name", elem_id="table-name", placeholder="support")
        threshold = gr.Slider(0, 1, 0.5, step=0.01, label="Threshold", elem_id="table-threshold",
                              info="Probability from which a lesson may speak")  # fmt: skip
        residual = gr.Slider(0, 1, 1, step=0.05, label="Residual", info="Strength", elem_id="table-residual")
        sparsity = gr.Slider(0.01, 1, 1, step=0.01, label="Sparsity", info="Share stored", elem_id="table-sparsity")
    save_ = gr.Button("Create or change", variant="primary", elem_id="table-save")
    fields = [name, threshold, residual, sparsity]
    place.select(told(look), desk.key, shown, **QUIET)
    saved = save_.click(told(save), [*fields, desk.key], [said, shown], **QUIET)
    shown.click(told(act), desk.key, [said, asked, wanted, *fields], **QUIET)
    dropped = sure.click(told(drop), [wanted, desk.key], [said, asked, wanted, shown], **QUIET)
    keep.click(lambda: ("", gr.update(visible=False)), None, [said, asked], **QUIET)
    return [saved, dropped]


def tables_shown(rows: list[dict[str, Any]]) -> str:
    """All tables."""
    if not rows:
        return empty("No tables.", "The first lesson makes the table default.")
    heads = ("Table", "Active", "Superseded", "Held back", "Threshold", "Residual", "Sparsity", "Layer", "")
    cells = []
    for row in rows:
        counts, how, name = row["lessons"], row["settings"], row["name"]
        acts = button("Change", "fill", name, described=f"Change the table {name}")
        acts += button("Delete", "drop", name, kind="el-danger", described=f"Delete the table {name}")
        numbers = [f"{counts[n]:,}" for n in ("active", "superseded", "quarantined")]
        numbers += [f"{how[n]:g}" for n in ("threshold", "residual", "sparsity")]
        cells.append(
            (f"<b>{plain(name)}</b>", *numbers, plain(how["layer"] or "-"), f'<div class="el-acts">{acts}</div>')
        )
    return table(heads, cells, label="Tables")

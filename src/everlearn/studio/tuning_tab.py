"""Learn, Train on a file: a fine-tuning by the API is started, watched, paused, gone on with, ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr

from everlearn.studio.client import Api, ApiError
from everlearn.studio.faults import told
from everlearn.studio.learn_tab import Learn
from everlearn.studio.markup import button, empty, notice, plain, table
from everlearn.studio.page import Desk, act_of, panel
from everlearn.studio.queues_tab import QUIET

KIND = "fine_tuning.job"
ACTS = {"pause": "Paused: what it has learned up to its last saved state is kept.", "cancel": "Ended."}
_LINE = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
_RUNS = ("validating_files", "queued", "running")


def build(desk: Desk, do: Learn, place: gr.Tab, watching: list[Any]) -> None:
    """Lay it out and connect it.

    Args:
        desk: what tabs work at.
        do: watches what was started.
        place: the tab that it is part of.
        watching: outputs of `do.watched`.
    """

    async def start(file: str | None, name: str, epochs: Any, key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        begun = await started(desk.api(key), file, name, epochs)
        async for update in do.watched(begun, key):
            yield update

    async def look(key: str) -> str:
        return tunings((await desk.api(key).get("/v1/fine_tuning/jobs"))["data"])

    async def act(event: gr.EventData, key: str) -> tuple[str, str]:
        name, of = act_of(event)
        if name not in (*ACTS, "resume"):
            return gr.skip(), gr.skip()
        await desk.api(key).post(f"/v1/fine_tuning/jobs/{of}/{name}")
        return notice(ACTS.get(name, "It goes on; its curves are above when the tab is opened again.")), await look(key)

    with gr.Accordion("Train on a file (fine-tuning)", open=False, elem_id="tuning"):
        with gr.Row():
            file = gr.File(
                label="Questions and answers (.jsonl)", file_types=[".jsonl"], elem_id="tuning-file", height=120
            )
            with gr.Column(min_width=200):
                name = gr.Textbox("tuned", label="Name of the adapter", elem_id="tuning-name")
                epochs = gr.Number(3, label="Epochs", precision=0, minimum=1, maximum=50, elem_id="tuning-epochs")
                go = gr.Button("Start training", elem_id="tuning-go")
        gr.HTML(
            f'<p class="el-dim">One line each: <code>{plain(_LINE)}</code>. One in ten is held out; the adapter is '
            "used only if it is better on them than the base model.</p>",
            apply_default_css=False,
        )
        said, shown = panel(id_="tuning-said"), panel(id_="tuning-shown")
    place.select(told(look), desk.key, shown, **QUIET)
    trained = go.click(told(start), [file, name, epochs, desk.key], watching, **QUIET)
    trained.then(told(look), desk.key, shown, **QUIET)
    shown.click(told(act), desk.key, [said, shown], **QUIET)


async def started(api: Api, file: str | None, name: str, epochs: Any) -> str:
    """Upload a file, begin to train on it; gives the id of the job that can be watched."""
    if not file:
        raise ApiError("No file was chosen.", hint="Drop one into the field, or press it.")
    kept = await api.upload("/v1/files", Path(file), {"purpose": "fine-tune"})
    body = {"model": "base", "training_file": kept["id"], "suffix": (name or "").strip() or "tuned"}
    await api.post("/v1/fine_tuning/jobs", {**body, "hyperparameters": {"n_epochs": int(epochs or 3)}})
    jobs = (await api.get("/v1/jobs"))["data"]
    return str(next(job["id"] for job in jobs if job["kind"] == KIND))


def tunings(rows: Sequence[Mapping[str, Any]]) -> str:
    """All fine-tunings, newest first, with what can be done about each."""
    if not rows:
        return empty("No fine-tuning yet.", "Choose a file of questions and answers, and press Start training.")
    cells = []
    for row in rows:
        acts = [button("Pause", "pause", row["id"])] if row["status"] in _RUNS else []
        acts += [button("Go on", "resume", row["id"])] if row["status"] == "paused" else []
        acts += [button("End it", "cancel", row["id"], kind="el-danger")] if acts else []
        error = row.get("error") or {}
        made = datetime.fromtimestamp(row["created_at"], UTC).strftime("%Y-%m-%d %H:%M")
        outcome = plain(row.get("fine_tuned_model") or error.get("message") or "")
        cells.append((plain(made), plain(row["status"]), outcome, f'<div class="el-acts">{"".join(acts)}</div>'))
    return table(("Started", "Status", "Outcome", ""), cells, label="Fine-tunings")

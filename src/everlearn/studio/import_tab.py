"""Knowledge, Add and import: a file is checked row by row, then taught while one watches; and export."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from everlearn.studio import jobs_view
from everlearn.studio.client import Api, ApiError
from everlearn.studio.faults import told
from everlearn.studio.markup import empty, notice, plain, table
from everlearn.studio.page import Desk, act_of, panel

KINDS = [".csv", ".tsv", ".jsonl", ".json", ".pdf", ".docx", ".md", ".txt", ".html"]
COLUMNS = ("prompt", "answer", "table", "domain", "importance", "source", "author", "context", "valid_from", "valid_to")
FORMS = [("CSV", "csv"), ("JSON lines", "jsonl"), ("Bundle with keys and values (.zip)", "zip")]
_PAGE = 1000
_NONE = empty(
    "No file yet.", "Choose a CSV or JSONL of questions and answers, or a document; Check shows what is wrong with it."
)


def build(desk: Desk) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Lay it out and connect it; gives the two dropdowns of tables."""

    async def check(file: str | None, target: str, domain: str, key: str) -> AsyncIterator[str]:
        async for update in _send(desk.api(key), file, target, domain, dry_run=True):
            yield update

    async def teach(file: str | None, target: str, domain: str, key: str) -> AsyncIterator[str]:
        async for update in _send(desk.api(key), file, target, domain, dry_run=False):
            yield update

    async def act(event: gr.EventData, key: str) -> None:
        name, of = act_of(event)
        if name == "cancel":
            await desk.api(key).post(f"/v1/jobs/{of}/cancel")

    async def take(table_: str, form: str, key: str) -> Any:
        return gr.update(value=str(await exported(desk.api(key), table_ or "default", form)), visible=True)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            file = gr.File(label="File to import", file_types=KINDS, elem_id="import-file", height=140)
            with gr.Row():
                target = gr.Dropdown(["default"], value="default", label="Into the table", elem_id="import-table")
                domain = gr.Textbox("general", label="Domain", elem_id="import-domain")
            with gr.Row(elem_classes="el-tight"):
                checked = gr.Button("Check", elem_id="import-check", min_width=80)
                go = gr.Button("Import", variant="primary", elem_id="import-go", min_width=80)
        with gr.Column(scale=1, min_width=260):
            source = gr.Dropdown(["default"], value="default", label="Export the table", elem_id="export-table")
            form = gr.Radio(FORMS, value="csv", label="As", elem_id="export-form")
            made = gr.Button("Export", elem_id="export-go")
            out = gr.File(label="Exported file", interactive=False, visible=False, elem_id="export-file", height=90)
    shown = panel(_NONE, id_="import-shown")
    given = [file, target, domain, desk.key]
    checked.click(told(check), given, shown, **quiet)
    go.click(told(teach), given, shown, **quiet)
    shown.click(told(act), desk.key, None, **quiet)
    made.click(told(take), [source, form, desk.key], out, api_visibility="private")
    return target, source


async def _send(api: Api, file: str | None, target: str, domain: str, *, dry_run: bool) -> AsyncIterator[str]:
    if not file:
        raise ApiError("No file was chosen.", hint="Drop one into the field, or press it.")
    fields = {"domain": domain, "dry_run": dry_run} | ({"table": target} if target != "default" else {})
    begun = await api.upload("/v1/teach/file", Path(file), fields)
    async for job in api.watch(begun["id"]):
        yield jobs_view.job(job) + (outcome(job["result"], dry_run=dry_run) if job.get("result") else "")


def outcome(result: dict[str, Any], *, dry_run: bool) -> str:
    """What a file holds, or what came of it, with the errors of each row."""
    if "passages" in result:
        words = f"{result['passages']} passages"
        skipped = [{"line": "", "error": str(each)} for each in result["skipped"]]
    else:
        words, skipped = f"{result['lessons']:,} good rows, {result['bad']:,} bad rows", result["errors"]
    if dry_run:
        said = notice(f"{words}. Nothing was taught yet: press Import.", "wait")
    else:
        held = f", {result['quarantined']} held back" if result.get("quarantined") else ""
        said = notice(f"{words}: taught{held}; {result.get('known', 0)} were known already.")
    errors = [(plain(each["line"]), plain(each["error"])) for each in skipped]
    bad = table(("Row", "What is wrong"), errors, label="Rows that cannot be read") if errors else ""
    rows = [(plain(p["prompt"]), plain(p["answer"][:200])) for p in result.get("preview", ())]
    return said + bad + (table(("Question", "Answer"), rows, label="First rows") if rows else "")


async def exported(api: Api, name: str, form: str) -> Path:
    """A table as a file in a folder of its own."""
    to = Path(tempfile.mkdtemp(prefix="everlearn-export-")) / f"{name}.{form}"
    if form == "zip":
        return await api.download(f"/v1/tables/{name}/export", to)
    rows: list[dict[str, Any]] = []
    while True:
        told_ = await api.get("/v1/lessons", table=name, status="active", limit=_PAGE, offset=len(rows))
        rows += told_["data"]
        if not told_["has_more"]:
            break
    with to.open("w", encoding="utf-8", newline="") as out:
        if form == "csv":
            writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        else:
            for row in rows:
                kept = {n: row[n] for n in COLUMNS if row[n] not in (None, "")}
                out.write(json.dumps(kept, ensure_ascii=False) + "\n")
    return to

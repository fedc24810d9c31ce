"""Evaluate: results that were measured, as plots; and the demo's measurement, run here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr

from everlearn.studio.client import ApiError
from everlearn.studio.curves import heat_map
from everlearn.studio.demo_run import measured
from everlearn.studio.faults import told
from everlearn.studio.markup import empty, notice, plain, table
from everlearn.studio.page import Desk, panel
from everlearn.studio.plots import bars
from everlearn.studio.queues_tab import QUIET

MOST_BYTES, MOST_ROWS, DEEPEST = 5_000_000, 400, 4
_EMPTY = empty(
    "Nothing to show yet.",
    "Run the demo measurement, or load results (JSON of everlearn bench, or of benchmarks/results).",
)


def build(desk: Desk) -> None:
    """Lay the tab out and connect it."""

    async def run(key: str) -> AsyncGenerator[tuple[Any, ...], None]:
        results: dict[str, Any] = {}
        async with aclosing(measured(desk.api(key))) as steps:
            async for what, done, total, results in steps:
                bar = f'<div class="el-bar"><div style="width:{100 * done / total:.0f}%"></div></div>'
                yield notice(f"{what}: {done} of {total}", "wait") + bar + result("demo", results), gr.skip()
        results["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        to = Path(tempfile.mkdtemp(prefix="everlearn-demo-")) / "studio-demo.json"
        to.write_text(json.dumps(results, indent=2), "utf-8")
        yield (
            notice("Measured; the table it was done in is deleted again.") + result("demo", results),
            gr.update(value=str(to), visible=True),
        )

    async def load(files: list[str] | None) -> str:
        return "".join(result(Path(file).name, loaded(Path(file))) for file in files or ()) or _EMPTY

    with gr.Row():
        with gr.Column(min_width=260):
            go = gr.Button("Run the demo measurement", variant="primary", elem_id="evaluate-go")
            made = gr.File(label="Its results", interactive=False, visible=False, elem_id="evaluate-file", height=90)
        files = gr.File(
            label="Results to show (.json)",
            file_types=[".json"],
            file_count="multiple",
            elem_id="evaluate-load",
            height=140,
        )
    shown = panel(_EMPTY, id_="evaluate-shown")
    go.click(told(run), desk.key, [shown, made], **QUIET)
    files.change(told(load), files, shown, **QUIET)


def loaded(path: Path) -> dict[str, Any]:
    """A file of results.

    Raises:
        ApiError: it is too large, or no JSON object.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ApiError(f"{path.name} has more than {MOST_BYTES:,} bytes.", hint="Load the summary, not the raw rows.")
    try:
        told_ = json.loads(path.read_text("utf-8"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise ApiError(f"{path.name} is no JSON: {cause}.", hint="Load a file of benchmarks/results.") from cause
    return told_ if isinstance(told_, dict) else {"results": told_}


def result(name: str, values: Mapping[str, Any]) -> str:
    """Results as bars (shares between 0 and 1) and a table (all other numbers and words)."""
    maps, values = streams(values)
    flat = dict(flattened(values))
    shares = [(n, float(v)) for n, v in flat.items() if isinstance(v, float) and 0 <= v <= 1][:40]
    rest = [(plain(n), plain(f"{v:,}" if isinstance(v, int) else v)) for n, v in flat.items() if (n, v) not in shares]
    plot = f'<div class="el-card">{bars(shares, label=f"Shares of {name}")}</div>' if shares else ""
    more = table(("Figure", "Value"), rest[:MOST_ROWS], label=f"Figures of {name}") if rest else ""
    return f'<h2 class="el-h2">{plain(name)}</h2>{maps}{plot}{more}'


def streams(values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The matrices of scores of `bench forgetting` as heat maps, and the results without them.

    Row i is after task i was learned, column j the score on task j, in per cent.
    """
    methods, tasks = values.get("methods"), values.get("tasks")
    if not isinstance(methods, Mapping) or not isinstance(tasks, list):
        return "", values
    shown, rest = [], {}
    for method, found in methods.items():
        matrix = found.get("R") if isinstance(found, Mapping) else None
        rest[method] = found
        if not isinstance(matrix, list) or any(len(row) != len(tasks) for row in matrix):
            continue
        rest[method] = {figure: value for figure, value in found.items() if figure not in ("R", "runs")}
        names = [f"after {task}" for task in tasks] if len(matrix) == len(tasks) else ["after all"] * len(matrix)
        rows = [(name, [score / 100 for score in scores]) for name, scores in zip(names, matrix, strict=True)]
        drawn = heat_map(rows, [str(task) for task in tasks], label=f"What {method} still knows", corner="share right")
        shown.append(f'<div class="el-card"><p class="el-heading">{plain(method)}</p>{drawn}</div>')
    return f'<div class="el-cards el-sides">{"".join(shown)}</div>' if shown else "", {**values, "methods": rest}


def flattened(values: Any, prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Numbers and words of nested results by their dotted names; long lists and what lies too deep are left out."""
    if isinstance(values, Mapping) and depth < DEEPEST:
        return [
            row for n, v in values.items() for row in flattened(v, f"{prefix}.{n}" if prefix else str(n), depth + 1)
        ]
    if isinstance(values, list) and depth < DEEPEST and len(values) <= 30:
        return [row for n, v in enumerate(values) for row in flattened(v, f"{prefix}.{n}", depth + 1)]
    if isinstance(values, (bool, int, float, str)) and len(str(values)) <= 300:
        return [(prefix, values)]
    return []

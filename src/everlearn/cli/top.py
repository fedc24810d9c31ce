"""`everlearn top`: what a running server does, in the terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from everlearn.cli import options
from everlearn.cli.screen import grid, out, show, show_json, visible
from everlearn.errors import SettingsError

if TYPE_CHECKING:
    from everlearn.server.figures import Figures

_SECONDS = 10.0


def top(
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Address of the server.")] = "http://127.0.0.1:8000",
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="VARIABLE", help="Environment variable that holds an admin's key.")
    ] = "EVERLEARN_KEY",
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.2, help="Between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, show the difference, and end.")] = False,
    json: options.Json = False,
) -> None:
    """Watch a server: answers under way, tokens a second, first token, recall, lessons. Ctrl-C ends it."""
    headers = {"authorization": f"Bearer {os.environ[key_env]}"} if os.environ.get(key_env) else {}
    with httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=_SECONDS) as client:
        before, at = _look(client, url), time.monotonic()
        if once or json:
            time.sleep(every)
            now = _look(client, url)
            measured = _measured(now, before, time.monotonic() - at)
            show_json(measured) if json else show(_view(measured, url))
            return
        with Live(console=out(), auto_refresh=False) as live:
            while True:
                time.sleep(every)
                now, seen = _look(client, url), time.monotonic()
                live.update(_view(_measured(now, before, seen - at), url), refresh=True)
                before, at = now, seen


def _look(client: httpx.Client, url: str) -> Figures:
    from everlearn.server.figures import read_figures

    try:
        answer = client.get("/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as cause:
        raise SettingsError(f"No server answers at {url}: {cause}.", hint="Start one: everlearn serve") from cause
    if answer.status_code in (401, 403):
        raise SettingsError("The server wants an admin's key.", hint="Put it into EVERLEARN_KEY, or name --key-env.")
    try:
        return read_figures(answer.raise_for_status().text)
    except (httpx.HTTPError, ValueError) as cause:
        raise SettingsError(f"{url} is no server of everlearn: {cause}.", hint="Mind the address.") from cause


def _measured(now: Figures, before: Figures, seconds: float) -> dict[str, Any]:
    """Figures of the moment, and of what happened since the look before."""

    def a_second(name: str) -> float:
        return now.since(before, name) / seconds

    def mean(name: str, unit: float) -> float | None:
        value = now.mean_since(before, name)
        return value * unit if value is not None else None

    return {
        "running": now.values.get("everlearn_num_requests_running", 0.0),
        "waiting": now.values.get("everlearn_num_requests_waiting", 0.0),
        "requests_a_second": a_second("everlearn_requests_total"),
        "tokens_read_a_second": a_second("everlearn_prompt_tokens_total"),
        "tokens_written_a_second": a_second("everlearn_generation_tokens_total"),
        "first_token_ms": mean("everlearn_time_to_first_token_seconds", 1000),
        "token_ms": mean("everlearn_inter_token_latency_seconds", 1000),
        "recall_ms": mean("everlearn_recall_milliseconds", 1),
        "lessons": now.by("everlearn_lessons", "status"),
        "answers_resting_on_lessons": now.by("everlearn_recall_hits_total", "how"),
        "refused": now.values.get("everlearn_refused_total", 0.0),
    }


def _view(measured: dict[str, Any], url: str) -> Group:
    table: Table = grid("=what", ">now")
    for name, value in measured.items():
        table.add_row(name.replace("_", " ").replace(" ms", ""), _shown(name, value))
    return Group(Text(visible(url), "dim"), table)


def _shown(name: str, value: float | dict[str, float] | None) -> str:
    if not value and not isinstance(value, float):
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{count:,.0f} {part}" for part, count in sorted(value.items()))
    assert value is not None, "shown as a dash"
    if name.endswith("_ms"):
        return f"{value:,.0f} ms"
    return f"{value:,.1f}" if name.endswith("_second") else f"{value:,.0f}"

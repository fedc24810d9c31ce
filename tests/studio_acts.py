"""What a person does on the page, and the server and browser that it is done in: tests, pictures, measurements."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

START_SECONDS = 240

TABS = ("Chat", "Knowledge", "Learn", "Compare", "Monitor", "Evaluate", "Settings")
INNER = ("Add and import", "Map", "Conflicts", "Quarantine", "Promotion", "Tables")


@contextlib.contextmanager
def served(state, *, toy=False):
    """The address of a server of its own, and its process; its state lies in this folder. `toy`: over the toy model."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "EVERLEARN_STATE": str(state), "HF_HUB_OFFLINE": "1"}
    command = ["-c", "from everlearn.cli.main import run; run()", "studio", "--no-browser", "--port", port]
    if toy:
        command = [str(Path(__file__).parents[1] / "benchmarks" / "toy_server.py"), port, str(state), "studio"]
    with subprocess.Popen([sys.executable, *command], env=env) as server:
        try:
            yield _awaited(f"http://127.0.0.1:{port}", server), server
        finally:
            server.terminate()
            server.wait(60)


def _awaited(address, server):
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if server.poll() is not None:
            raise RuntimeError("the server ended")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/ready", trust_env=False).status_code == 200:
                return address
        time.sleep(0.2)
    raise RuntimeError(f"no server in {START_SECONDS} s")


def chromium():
    """The path of a browser, or an error that says how to get one."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        raise RuntimeError("Chromium is missing: apt-get install chromium, or set CHROMIUM to its path.")
    return found


def tab(page, name):
    """Choose a tab, from the menu of those that have no room where it is there."""
    found = page.get_by_role("tab", name=name, exact=True)
    if found.count() and found.first.is_visible():
        found.first.click()
        return
    for menu in page.locator(".overflow-menu > button").all():
        if not menu.is_visible():
            continue
        menu.click()
        choice = page.locator(".overflow-dropdown button", has_text=name)
        if choice.count() and choice.first.is_visible():
            choice.first.click()
            return
        menu.click()
    raise AssertionError(f"there is no tab {name}")


def ask(page, question):
    """Ask in Chat and wait for the whole answer; its text."""
    turns = page.locator("#chat-log .el-turn").count()
    page.fill("#chat-question textarea", question)
    page.keyboard.press("Enter")
    return answer(page, turns)


def answer(page, turn):
    """The text of an answer, once it is whole."""
    last = page.locator("#chat-log .el-turn").nth(turn)
    last.locator("[data-act=right]").wait_for(timeout=240_000)  # a long answer on a busy machine
    return last.locator(".el-answer > p").first.inner_text().removeprefix("Answer: ").strip()

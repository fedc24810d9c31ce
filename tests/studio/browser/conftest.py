"""A real server process with the real default model, and Debian's Chromium. Run by `make test-studio`."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time

import httpx
import pytest

WIDTHS = (390, 1024, 1600)
_START_SECONDS = 180
_REASON = "opt in with EVERLEARN_TEST_STUDIO=1 (make test-studio)"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/studio/browser/" in str(item.path):
            item.add_marker(pytest.mark.studio)
            if os.environ.get("EVERLEARN_TEST_STUDIO") != "1":
                item.add_marker(pytest.mark.skip(reason=_REASON))


def _port():
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Where a server listens whose state is new and goes with the tests."""
    port = _port()
    env = {**os.environ, "EVERLEARN_STATE": str(tmp_path_factory.mktemp("state")), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", "from everlearn.cli.main import run; run()", "studio", "--no-browser", "--port"]
    with subprocess.Popen([*command, str(port)], env=env) as server:
        try:
            _await(f"http://127.0.0.1:{port}", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def _await(url, server):
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends:
        assert server.poll() is None, "the server ended"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready", trust_env=False).status_code == 200:
                return
        time.sleep(0.2)
    raise AssertionError(f"no server in {_START_SECONDS} s")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "Chromium is missing: apt-get install chromium, or set CHROMIUM to its path"
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def open_page(browser, address):
    """Open the studio at a width; whatever it asks of another machine, and whatever breaks in it, fails the test."""
    contexts, outside, broken = [], [], []

    def made(width=1024, height=900, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("response", lambda r: broken.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("dialog", lambda dialog: (broken.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(f"{address}/studio/")
        page.wait_for_selector("#chat-question textarea")
        return page

    yield made
    for context in contexts:
        context.close()
    assert outside == []
    assert broken == []

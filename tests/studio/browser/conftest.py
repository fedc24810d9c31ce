"""A real server process with the real default model, and Debian's Chromium. Run by `make test-studio`."""

from __future__ import annotations

import os

import pytest

from studio_acts import chromium, served

WIDTHS = (390, 1024, 1600)
_REASON = "opt in with EVERLEARN_TEST_STUDIO=1 (make test-studio)"


def pytest_collection_modifyitems(items):
    for item in items:
        if "/studio/browser/" in str(item.path):
            item.add_marker(pytest.mark.studio)
            if os.environ.get("EVERLEARN_TEST_STUDIO") != "1":
                item.add_marker(pytest.mark.skip(reason=_REASON))


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """Where a server listens whose state is new and goes with the tests."""
    with served(tmp_path_factory.mktemp("state")) as (found, _server):
        yield found


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
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

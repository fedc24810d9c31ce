"""The page is made and served, and names nothing outside this machine."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from everlearn import wiring
from everlearn.server.app import create_app
from everlearn.server.keys import KeyRing
from everlearn.server.limits import Rates
from everlearn.server.room import ServerSettings
from everlearn.studio import theme
from toys import toy_parts


@pytest.fixture
def page(home):
    how = ServerSettings(rates=Rates(requests=3))
    app = wiring.with_studio(
        create_app(wiring.server_room(wiring.load_settings(home=home), toy_parts(), how)), "http://x"
    )
    with TestClient(app) as client:
        yield client


def test_the_page_needs_no_key_and_no_limit_since_its_calls_carry_one(page, home):
    KeyRing(home).create("local", ("ask",))
    for _ in range(5):
        assert page.get("/studio/").status_code == 200
    assert page.get("/v1/models").status_code == 401
    assert "everlearn studio" in page.get("/studio/").text


def test_pages_are_not_counted_as_requests_of_the_api(page):
    page.get("/studio/")
    assert "studio" not in page.get("/metrics").text


def test_the_look_names_no_other_machine():
    for text in (theme.CSS, theme.SCRIPT, theme.HEAD):
        assert not re.search(r"https?://|url\(", text)
    assert "googleapis" not in str(theme.theme()._get_theme_css())

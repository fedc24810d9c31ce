"""A server over a toy model, its state in a folder of the test."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from everlearn import wiring
from everlearn.server.app import create_app
from everlearn.server.room import ServerSettings
from toys import toy_parts


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def serve(home):
    """Make a server with these settings; all are closed when the test ends."""
    open_ = []

    def made(**how):
        settings = wiring.load_settings(home=home)
        app = create_app(wiring.server_room(settings, toy_parts(), replace(ServerSettings(), **how)))
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        open_.append(client)
        return client

    yield made
    for client in reversed(open_):
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve):
    return serve()


@pytest.fixture
def key_of(home):
    """Headers with a new key."""
    from everlearn.server.keys import KeyRing

    def made(tenant="local", scopes=("ask", "teach", "admin")):
        _, secret = KeyRing(home).create(tenant, scopes)
        return {"authorization": f"Bearer {secret}"}

    return made

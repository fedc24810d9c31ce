"""A server over the toy model of the tests, for tools of thousands of requests: toy_server.py PORT FOLDER [studio]."""

import sys
from dataclasses import replace
from pathlib import Path

import uvicorn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from everlearn import wiring
from everlearn.server.app import create_app
from everlearn.server.room import ServerSettings
from toys import toy_parts


def main(port: str, folder: str, studio: str = "") -> None:
    settings = wiring.load_settings(home=folder)
    room = wiring.server_room(settings, toy_parts(), replace(ServerSettings(), port=int(port)))
    app = create_app(room)
    if studio:
        app = wiring.with_studio(app, f"http://127.0.0.1:{port}")
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])

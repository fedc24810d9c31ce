"""`everlearn studio`: the server with the web studio, and a browser that shows it."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from everlearn.cli.opening import choice_of
from everlearn.cli.serve import is_installed, start
from everlearn.errors import SettingsError

PATH = "/studio"


def studio(
    ctx: typer.Context,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Listen here; beyond loopback with keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="Listen here; 0 = any.")] = 8000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")] = True,
) -> None:
    """Teach the model, see what it knows and trust it, in the browser, until it is stopped.

    This is `everlearn serve` with its studio shown: the API answers at the same address.
    """
    from everlearn.server.room import ServerSettings

    if not is_installed():
        raise SettingsError("The studio is not installed.", hint="pip install 'everlearn[studio]'")
    start(choice_of(ctx), ServerSettings(host=host, port=port), studio=True, ready=_open if browser else None)


def _open(address: str) -> None:
    webbrowser.open(address + PATH)

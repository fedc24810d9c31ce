"""Parts that every tab is made of: HTML that can be clicked, and the caller of each handler."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, final

import gradio as gr

from everlearn.studio.client import Api, Server

ACTS = files("everlearn.studio").joinpath("acts.js").read_text("utf-8")


@final
@dataclass(frozen=True, slots=True)
class Desk:
    """What every tab works at.

    Attributes:
        server: whose API is called.
        key: the field of the caller's key; an input of every handler.
    """

    server: Server
    key: gr.Textbox

    def api(self, key: str | None) -> Api:
        """The API as the caller may use it."""
        return self.server.as_caller(key)


def panel(value: str = "", *, id_: str, classes: str = "", script: str = "") -> gr.HTML:
    """A part of the page that shows HTML of ours, whose buttons are events of ours; `script` runs once beside that."""
    names, scripts = classes.split() or None, ACTS + script
    return gr.HTML(value, elem_id=id_, elem_classes=names, js_on_load=scripts, apply_default_css=False)


def act_of(event: gr.EventData) -> tuple[str, str]:
    """What a click asks for, and of what; a click beside any button asks for nothing."""
    data: dict[str, Any] = event._data if isinstance(event._data, dict) else {}
    return str(data.get("act", "")), str(data.get("of", ""))

"""The dashboard asks for figures that there are, and the unit starts a command that there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from everlearn.server.figures import read_figures

DEPLOY = Path(__file__).parents[2] / "deploy"
EXPRESSIONS = [
    target["expr"]
    for panel in json.loads((DEPLOY / "grafana.json").read_text("utf-8"))["panels"]
    for target in panel["targets"]
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_panel_asks_for_a_figure_with_its_labels(client, expression):
    metrics = client.get("/metrics").text
    families = re.findall(r"^# TYPE (\S+) (\S+)$", metrics, re.MULTILINE)
    known = {name for name, _ in families}
    known |= {f"{name}_bucket" for name, kind in families if kind == "histogram"}
    for name in re.findall(r"\beverlearn_\w+", expression):
        assert name in known, f"{name} is none of {sorted(known)}"
    assert expression.count("(") == expression.count(")")
    assert read_figures(metrics).values


def test_what_is_started_is_a_command():
    from everlearn.cli.main import app

    names = {command.name for command in app.registered_commands}
    unit = re.search(r"^ExecStart=(.*)$", (DEPLOY / "everlearn.service").read_text("utf-8"), re.MULTILINE)
    assert shlex.split(unit[1])[1] in names
    entry = re.search(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert json.loads(entry[1])[0] in names

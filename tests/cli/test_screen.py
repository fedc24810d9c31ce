import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everlearn.cli import screen
from everlearn.records import Lesson


def test_control_characters_become_visible():
    assert screen.visible("a\x1b[31m\x00\x7f\x9b\n\tb 😀 שלום") == "a␛[31m␀␡\ufffd\n\tb 😀 שלום"
    assert screen.one_line(" a\n\n b\t") == "a b"


def test_documents_hold_records_times_and_paths(capsys):
    screen.show_json({"lesson": Lesson("q", "ü", valid_from=datetime(2026, 1, 1, tzinfo=UTC)), "file": Path("a")})
    document = json.loads(capsys.readouterr().out)
    assert (document["lesson"]["valid_from"], document["file"]) == ("2026-01-01T00:00:00+00:00", "a")
    with pytest.raises(TypeError, match="object has no form in JSON"):
        screen.show_json(object())


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", "ü"), ("ascii", "\\u00fc"), ("cp1252", "\\u00fc")])
def test_documents_fit_the_encoding_of_the_reader(monkeypatch, encoding, written):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    screen.show_json("ü")
    assert raw.getvalue().decode(encoding) == f'"{written}"\n'


def test_nothing_is_read_as_markup(capsys):
    screen.warn("[red]x[/red] :smile:")
    assert capsys.readouterr().err == "warning: [red]x[/red] :smile:\n"

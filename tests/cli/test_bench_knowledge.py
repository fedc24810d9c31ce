"""`everlearn bench knowledge` on a toy model."""

from __future__ import annotations

import json

import pytest

ROW = {"title": "Zell", "context": "Mo bakes in Zell.", "questions": [{"question": "Who bakes?", "answer": "Mo"}]}


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "passages.jsonl"
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    return str(path)


def test_it_is_measured_and_shown(cli, data, tmp_path):
    out = tmp_path / "out.json"
    result = cli("bench", "knowledge", "--data", data, "--method", "bare,in_context,table", "--json", str(out))
    assert result.code == 0
    for part in ("bare", "in_context", "table", "holds the answer", "1 texts · 1 questions"):
        assert part in result.out
    found = json.loads(out.read_text())
    assert list(found["methods"]) == ["bare", "in_context", "table"]
    assert found["benchmark"] == "knowledge"


def test_wrong_data_and_methods_are_told(cli, data, tmp_path):
    assert "no method 'magic'" in cli("bench", "knowledge", "--data", data, "--method", "magic").err
    assert "cannot be read" in cli("bench", "knowledge", "--data", str(tmp_path / "nowhere")).err

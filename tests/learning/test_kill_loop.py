"""A short turn of benchmarks/kill_loop.py, which is run for 500 rounds by hand."""

from __future__ import annotations

from kill_loop import run


def test_what_was_acknowledged_survives_kill_nine(tmp_path):
    result = run(tmp_path / "home", rounds=20, most_ms=200)
    assert result["rounds"] == 20
    assert result["taught"] > 0

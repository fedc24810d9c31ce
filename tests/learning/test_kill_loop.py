"""A short turn of benchmarks/kill_loop.py, which is run for 500 rounds by hand."""

from __future__ import annotations

import pytest

from everlearn.memory import filing
from kill_loop import run


@pytest.mark.parametrize("large", [100_000, 30])
def test_what_was_acknowledged_survives_kill_nine(tmp_path, monkeypatch, large):
    monkeypatch.setattr(filing, "LARGE", filing.LARGE)  # set back afterwards
    monkeypatch.setattr(filing, "MOST_NEW", filing.MOST_NEW)
    result = run(tmp_path / "home", rounds=20, most_ms=200, large=large)
    assert result["rounds"] == 20
    assert result["taught"] > 0

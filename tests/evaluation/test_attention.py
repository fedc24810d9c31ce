"""The measurement of the layers' kinds: its figures are of the right things; how large they are is not asserted."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from everlearn.evaluation.attention import measure_attention, slope
from everlearn.evaluation.line_plot import log_log_plot
from everlearn.models.apertis.configuration import LAYER_KINDS


def test_the_slope_is_the_exponent():
    assert slope({n: 3e-6 * n**2 for n in (100, 200, 400)}) == pytest.approx(2.0)
    assert slope({n: 0.5 * n for n in (100, 300)}) == pytest.approx(1.0)
    assert slope({100: 1.0}) != slope({100: 1.0})


def test_every_kind_is_read_and_continued():
    said = []
    report = measure_attention(width=64, prefill=(64, 128), decode=(64, 256), runs=1, step=said.append)
    assert list(report.kinds) == list(LAYER_KINDS)
    assert "linear reads 128 tokens" in said and "full writes after 256 tokens" in said
    for kind, cost in report.kinds.items():
        assert set(cost.prefill_ms) == {64, 128} and min(cost.prefill_ms.values()) > 0
        assert set(cost.decode_ms) == {64, 256} and min(cost.decode_ms.values()) > 0
        grows = cost.cache_bytes[256] / cost.cache_bytes[64]
        assert grows == (1 if kind in ("linear", "recurrent") else 4), kind
    assert report.kinds["full"].cache_bytes[64] == 2 * 64 * 64 * 4
    assert report.to_dict()["kinds"]["linear"]["slope"] == report.kinds["linear"].slope


def test_the_plot_holds_a_line_for_each_kind_in_each_panel():
    lines = {"a": {1024: 1.0, 2048: 2.0}, "b<": {1024: 1.0, 2048: 4.0}}
    svg = ET.fromstring(log_log_plot({"first": lines, "second": lines}, across="tokens", labels={"a": "slope 1"}))
    drawn = [each for each in svg if each.tag.endswith("polyline")]
    words = [each.text for each in svg if each.tag.endswith("text")]
    assert len(drawn) == 4
    assert {"first", "second", "tokens", "slope 1", "b<", "1k", "2k"} <= set(words)

"""The measurement of an endless stream, on a toy: it says what it measured, and the slow truth is near."""

import pytest

from everlearn.errors import InputError
from everlearn.evaluation.endless import measure_stream
from toys import toy_parts

TEXT = "The harbour of Quimper had seven boats, and none of them was ever painted red. " * 80


@pytest.fixture(scope="module")
def report():
    parts = toy_parts()
    ids = parts.text.plain_ids(TEXT)[:4_000]
    return measure_stream(parts.model, ids, window=256, text="boats", dense_tokens=2_000, recomputed=True)


def test_bytes_are_constant_with_a_window_and_grow_without(report):
    with_sinks, without, dense = report.curves
    assert report.bytes_first == report.bytes_last == with_sinks.cache_bytes[0] == without.cache_bytes[-1]
    assert dense.cache_bytes == sorted(dense.cache_bytes)
    assert dense.cache_bytes[-1] > 5 * report.bytes_last
    assert [len(curve.perplexity) for curve in report.curves] == [4, 4, 2]


def test_the_ends_are_compared_behind_the_warm_up(report):
    curve = report.curves[0].perplexity
    assert report.warm_up == 1_000
    assert report.ppl_first == pytest.approx(curve[1])
    assert report.ppl_last == pytest.approx(curve[3])
    assert report.ppl_last == pytest.approx(report.recomputed_last, rel=0.3)


def test_all_keys_and_a_window_agree_until_it_rolls():
    parts = toy_parts()
    ids = parts.text.plain_ids(TEXT)[:4_000]
    wide = measure_stream(parts.model, ids, window=1_000, dense_tokens=1_001)
    assert wide.curves[0].perplexity[0] == pytest.approx(wide.curves[2].perplexity[0], rel=1e-4)


def test_a_short_text_is_refused():
    parts = toy_parts()
    with pytest.raises(InputError, match="need more"):
        measure_stream(parts.model, parts.text.plain_ids(TEXT)[:2_000], window=64)

"""Records survive the way to a row and back, whatever they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from everlearn.records import Lesson, Recalled, Receipt, TableSettings, Turn
from everlearn.store import rows

texts = st.text(st.characters(exclude_categories=["Cs"]))
times = st.datetimes(timezones=st.just(UTC))
shares = st.floats(0, 1)
recalled = st.builds(Recalled, texts, texts, st.floats(-1, 1), shares, st.sampled_from(["spoke", "outranked"]))
receipts = st.builds(
    Receipt, texts, texts, st.lists(texts).map(tuple), st.lists(recalled).map(tuple), st.integers(0, 99), shares
)
lessons = st.builds(
    Lesson,
    *(texts, texts, texts, texts, shares, texts, texts, texts, texts),
    times,
    st.none() | times,
    st.none() | times,
    st.just("superseded"),
    texts,
)


@given(lessons)
def test_lessons(lesson):
    assert rows.lesson_of(SimpleNamespace(**rows.lesson_row(lesson))) == lesson


@given(st.builds(Turn, texts, texts, texts, texts, receipts, times))
def test_turns(turn):
    assert rows.turn_of(SimpleNamespace(**rows.turn_row(turn))) == turn


@given(st.builds(TableSettings, shares, shares, st.lists(st.integers(-99, 99)).map(tuple), shares))
def test_settings(settings):
    assert rows.settings_of(SimpleNamespace(**rows.settings_row("name", settings))) == settings


def test_times_of_other_zones_are_kept_as_the_same_moment():
    local = datetime.fromisoformat("2025-03-01T12:00:00.000001+05:30")
    assert rows.moment(rows.micros(local)) == local
    assert rows.moment(rows.micros(local)).tzinfo is UTC
    assert rows.moment(rows.micros(None)) is None


def test_receipts_keep_what_was_filtered_sampled_and_claimed():
    from dataclasses import replace

    from everlearn.records import Claim, Filtered, Grammar, Sampling

    sampling = Sampling(temperature=0.5, seed=3, stop=("x",), logit_bias=((1, 2.0),), grammar=Grammar("regex", "a+"))
    claim = Claim(0, 3, False, ("name",), "id", 0.5)
    receipt = Receipt("r", "m", ("t",), filters=(Filtered("input", "iban", "redact", "pii/iban"),), claims=(claim,))
    turn = Turn("r", "s", "p", "a", replace(receipt, sampling=sampling), datetime(2026, 1, 1, tzinfo=UTC))
    assert rows.turn_of(SimpleNamespace(**rows.turn_row(turn))) == turn

"""What no implementation of the store takes: each refuses the same with the same words, and changes nothing."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest

from everlearn.errors import LessonError, SettingsError
from everlearn.records import Lesson, TableInfo, TableSettings
from everlearn.store.in_memory import InMemoryLessonStore
from everlearn.store.sqlite import SqliteLessonStore


@pytest.fixture(params=["sqlite", "in_memory"])
def store(request, tmp_path):
    opened = SqliteLessonStore(tmp_path / "lessons.db") if request.param == "sqlite" else InMemoryLessonStore()
    with closing(opened):
        yield opened


def lesson(lesson_id, **fields):
    return Lesson("Who?", "She.", id=lesson_id, taught_at=datetime.now(UTC), status="active", **fields)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (TableSettings(threshold=1.5), "threshold is 1.5, wanted 0 to 1"),
        (TableSettings(threshold=float("nan")), "threshold is nan, wanted 0 to 1"),
        (TableSettings(threshold="high"), "threshold is 'high', wanted a number"),
        (TableSettings(residual=-0.1), "residual is -0.1, wanted 0 to 1"),
        (TableSettings(residual=True), "residual is True, wanted a number"),
        (TableSettings(residual=None), "residual is None, wanted a number"),
        (TableSettings(sparsity=0, output=False), "a table would correct nothing"),
        (TableSettings(sparsity=-0.1), "sparsity is -0.1, wanted 0 to 1"),
        (TableSettings(output=1), "output is 1, wanted True or False"),
        (TableSettings(values="guessed"), "wanted one of difference, learned, learned-at-prompt"),
        (TableSettings(sparsity=2), "sparsity is 2, wanted 0 to 1"),
        (TableSettings(blocks=[1]), r"blocks is \[1\], wanted a tuple"),
        (TableSettings(blocks=3), "blocks is 3, wanted a tuple"),
        (TableSettings(blocks=(1, 2.0)), "wanted a tuple of whole numbers"),
        (TableSettings(blocks=(True,)), "wanted a tuple of whole numbers"),
        (TableSettings(blocks=(3, -1, 3)), "3 stands there twice"),
        ({"threshold": 0.5}, "wanted TableSettings"),
    ],
)
def test_impossible_settings_of_a_table(store, settings, says):
    for write in (
        lambda: store.put_table("docs", settings),
        lambda: store.put_table("default", settings),
        lambda: store.replace_all([], {"docs": settings}),
    ):
        with pytest.raises(SettingsError, match=says):
            write()
    assert store.tables() == [TableInfo("default", TableSettings(), 0, 0)]
    assert store.seq() == 0


@pytest.mark.parametrize(
    "name", ["", " ", " docs", "docs\n", "do\tcs", "a\x00b", "\x1b[31m", "x" * 201, "half\ud800", 7, None, b"docs"]
)
def test_names_that_nobody_can_type(store, name):
    with pytest.raises(SettingsError, match=r"name"):
        store.put_table(name, TableSettings())
    with pytest.raises(SettingsError):
        store.replace_all([], {name: TableSettings()})
    assert store.seq() == 0


@pytest.mark.parametrize("name", ["x" * 200, "Größe 2", "日本語", "a/b", "👩‍🚀"])
def test_names_in_any_script_are_taken(store, name):
    settings = TableSettings(threshold=0, residual=1, blocks=(0, -1), sparsity=1e-6)
    store.put_table(name, settings)
    assert store.table(name) == settings


@pytest.mark.parametrize(
    ("field", "moment"),
    [
        ("valid_from", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        ("valid_to", datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5)))),
    ],
)
def test_a_time_that_cannot_be_read_again(store, field, moment):
    with pytest.raises(LessonError, match=f"{field} .* outside the years 1 to 9999"):
        store.teach([lesson("a", **{field: moment})], {})
    assert store.seq() == 0


def test_a_time_without_a_zone_is_a_fault_of_the_program(store):
    with pytest.raises(AssertionError, match="without a zone"):
        store.teach([lesson("a", valid_from=datetime(2020, 1, 1))], {})

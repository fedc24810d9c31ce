from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from everlearn.text.dates import moment_of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2018", datetime(2018, 1, 1, tzinfo=UTC)),
        ("2018-05", datetime(2018, 5, 1, tzinfo=UTC)),
        (" 2018-05-31 ", datetime(2018, 5, 31, tzinfo=UTC)),
        ("2018-05-31T12:00:00+02:00", datetime(2018, 5, 31, 10, tzinfo=UTC)),
        (date(2018, 5, 31), datetime(2018, 5, 31, tzinfo=UTC)),
        (datetime(2018, 5, 31, 3), datetime(2018, 5, 31, 3, tzinfo=UTC)),
    ],
)
def test_dates_as_people_write_them(written, meant):
    assert moment_of(written) == meant
    assert moment_of(written).tzinfo is UTC


@pytest.mark.parametrize("written", ["soon", "2018-13", "0000", "0001-01-01T00:00:00+05:00", 2018, ""])
def test_what_is_no_moment_is_refused(written):
    with pytest.raises(ValueError, match=r"."):
        moment_of(written)

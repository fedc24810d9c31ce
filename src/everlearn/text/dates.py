"""Dates and times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

_YEAR_OR_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?")


def moment_of(value: datetime | date | str) -> datetime:
    """A moment in UTC; without a zone it is taken as UTC, without a time as the first moment of its day, month or year.

    Args:
        value: a datetime, a date, or text: 2018, 2018-05, 2018-05-31, 2018-05-31T12:00:00+02:00.

    Raises:
        ValueError: it is no moment of the years 1 to 9999 in UTC.
    """
    if isinstance(value, str):
        value = _parsed(value.strip())
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise ValueError(f"{value!r} is no date")
        value = datetime(value.year, value.month, value.day)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as cause:
        raise ValueError(f"{value} lies outside the years 1 to 9999 in UTC") from cause


def _parsed(text: str) -> datetime:
    short = _YEAR_OR_MONTH.fullmatch(text)
    return datetime(int(short[1]), int(short[2] or 1), 1) if short else datetime.fromisoformat(text)

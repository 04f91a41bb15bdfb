"""Days and months as numbers, against the standard library's calendar."""

from __future__ import annotations

from datetime import date, timedelta

from tallygate.core.calendar import first_day_of, month_of

EPOCH = date(1970, 1, 1)


def test_every_day_is_in_its_month() -> None:
    """From 1970 to 2420, leap years and centuries included, each day is in the month that the calendar says."""
    for day in range(365 * 450):
        on = EPOCH + timedelta(day)
        assert month_of(day) == (on.year - 1970) * 12 + on.month - 1, on


def test_every_month_begins_with_its_first() -> None:
    """The first day of each month is the one that the calendar says."""
    for month in range(12 * 450):
        assert first_day_of(month) == (date(1970 + month // 12, month % 12 + 1, 1) - EPOCH).days

"""Days and months as numbers and texts, against the standard library's calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.calendar import first_day_of, month_of, say_time, show_day, show_milliseconds, show_time

EPOCH = date(1970, 1, 1)


def test_every_day_is_in_its_month() -> None:
    """From 1970 to 2420, leap years and centuries included, each day has the month and the date of the calendar."""
    for day in range(365 * 450):
        on = EPOCH + timedelta(day)
        assert month_of(day) == (on.year - 1970) * 12 + on.month - 1, on
        assert show_day(day) == on.isoformat()


def test_every_month_begins_with_its_first() -> None:
    """The first day of each month is the one that the calendar says."""
    for month in range(12 * 450):
        assert first_day_of(month) == (date(1970 + month // 12, month % 12 + 1, 1) - EPOCH).days


@given(st.integers(0, 2**63 - 1))
@example(0)
@example(1_767_225_599_999_999_999)
def test_times_are_told_as_the_calendar_does(time_ns: int) -> None:
    """Every time of the books is told in UTC, cut off where a text has fewer digits, and never rounded up."""
    seconds, rest_ns = divmod(time_ns, 10**9)
    at = datetime.fromtimestamp(seconds, UTC)

    assert say_time(time_ns) == f"{at:%Y-%m-%d %H:%M:%S}"
    assert show_milliseconds(time_ns) == f"{at:%Y-%m-%dT%H:%M:%S}.{rest_ns // 10**6:03d}Z"
    assert show_time(time_ns) == f"{at:%Y-%m-%dT%H:%M:%S}" + (f".{rest_ns:09d}Z" if rest_ns else "Z")


def test_a_whole_second_has_no_decimals() -> None:
    """A time is told to the nanosecond; one without any has none."""
    assert show_time(1_767_225_599_999_999_999) == "2025-12-31T23:59:59.999999999Z"
    assert show_time(1_767_225_600 * 10**9) == "2026-01-01T00:00:00Z"

"""Days and months of UTC as numbers, both counted from 1970, and the texts of days and times.

All of it is whole-number arithmetic, since `core` asks no clock, and no time of the books may pass through a float.

A year is taken to begin in March, so that the leap day is its last. Then months before a day follow from a line of 153
days in five months, and 400 years always have the same number of days.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

DAY_NS: Final = 86_400 * 10**9
_S_NS: Final = 10**9

_DAYS_BEFORE_1970: Final = 719_468
"""From the first of March of the year 0."""

_DAYS_OF_400_YEARS: Final = 146_097


@lru_cache(maxsize=64)
def month_of(day: int) -> int:
    """Return the month of a day."""
    cycle, rest = divmod(day + _DAYS_BEFORE_1970, _DAYS_OF_400_YEARS)
    year = (rest - rest // 1460 + rest // 36_524 - rest // 146_096) // 365
    day_of_year = rest - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153  # 0 is March
    return (cycle * 400 + year - 1970) * 12 + month + 2


def first_day_of(month: int) -> int:
    """Return the first day of a month."""
    year, rest = divmod(month - 2, 12)  # of a year that begins in March
    year += 1970
    days = year * 365 + year // 4 - year // 100 + year // 400 + (153 * rest + 2) // 5
    return days - _DAYS_BEFORE_1970


def show_day(day: int) -> str:
    """Return a day as a date: `2026-01-31`."""
    month = month_of(day)
    return f"{1970 + month // 12:04}-{month % 12 + 1:02}-{day - first_day_of(month) + 1:02}"


def show_time(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, with nanoseconds unless it is a whole second."""
    rest_ns = time_ns % _S_NS
    return f"{_show_second(time_ns, 'T')}.{rest_ns:09}Z" if rest_ns else f"{_show_second(time_ns, 'T')}Z"


def show_milliseconds(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, as JavaScript writes it: `2026-01-31T12:00:00.250Z`."""
    return f"{_show_second(time_ns, 'T')}.{time_ns % _S_NS // 10**6:03}Z"


def say_time(time_ns: int) -> str:
    """Return a time of UTC for people, to the second: `2026-01-31 12:00:00`."""
    return _show_second(time_ns, " ")


def _show_second(time_ns: int, between: str) -> str:
    day, rest_ns = divmod(time_ns, DAY_NS)
    minutes, second = divmod(rest_ns // _S_NS, 60)
    return f"{show_day(day)}{between}{minutes // 60:02}:{minutes % 60:02}:{second:02}"

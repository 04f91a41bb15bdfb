"""Days and months of UTC as numbers, both counted from 1970: whole-number arithmetic, since `core` asks no clock.

A year is taken to begin in March, so that the leap day is its last. Then months before a day follow from a line of 153
days in five months, and 400 years always have the same number of days.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

DAY_NS: Final = 86_400 * 10**9

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

"""Timestamps: by a clock as it comes, and by one that is corrected, on and back; none comes twice."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.timestamps import CORRECTIONS, CorrectedTimestamps, RequestTimestamps


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(-300, 300), st.integers(1, 5)), max_size=300),
    st.integers(0, 3),
)
def test_no_two_corrected_timestamps_are_alike(periods: list[tuple[int, int, int]], spread: int) -> None:
    """However corrections come and go, on and back, and whatever the clock does, no timestamp comes twice."""
    now = [10**6]
    times, given_out = CorrectedTimestamps(lambda: now[0]), []
    for moved, correction, count in periods:
        now[0] += moved - 200
        given_out += [times.next(correction << (5 * spread)) for _ in range(count)]

    assert len(set(given_out)) == len(given_out)


def test_corrected_timestamps_are_the_corrected_time() -> None:
    """A correction moves the next timestamp at once, back as well as on, to within some microseconds."""
    clock = iter([5 * 10**9, 6 * 10**9, 7 * 10**9, 8 * 10**9])
    times = CorrectedTimestamps(lambda: next(clock))
    seen = [times.next(correction_s * 10**9) for correction_s in (0, 90, 0, -4)]

    for stamp, time_s in zip(seen, (5, 96, 7, 4), strict=True):
        assert abs(stamp - time_s * 10**9) < 3000


def test_numbers_of_corrections_come_round() -> None:
    """After more corrections than are told apart, timestamps of those that are recent still differ."""
    times = CorrectedTimestamps(lambda: 10**15)
    last: list[int] = []
    for correction in range(3 * CORRECTIONS):
        last = [*last[1 - CORRECTIONS :], times.next(-correction * 4096)]
        assert len(times._numbers) <= CORRECTIONS

    assert len(set(last)) == len(last) == CORRECTIONS


@pytest.mark.parametrize(
    ("clock", "timestamps"),
    [
        ([10, 20, 30], [10, 20, 30]),
        ([10, 10, 10], [10, 11, 12]),
        ([10, 9, 8, 11, 20], [10, 11, 12, 13, 20]),
        ([10, 10, 11, 12, 13, 20], [10, 11, 12, 13, 14, 20]),
        ([0, -5], [1, 2]),
    ],
)
def test_timestamps_follow_the_clock_and_always_increase(clock: list[int], timestamps: list[int]) -> None:
    """Time is taken as it comes; where it does not advance, one nanosecond is added."""
    readings = iter(clock)
    times = RequestTimestamps(lambda: next(readings))

    assert [times.next() for _ in clock] == timestamps


def test_timestamps_rejoin_a_clock_that_stepped_back_an_hour() -> None:
    """After a step back, timestamps creep by a nanosecond and rejoin the clock when it is there."""
    hour_ns = 3_600 * 10**9
    readings = iter([2 * hour_ns, hour_ns, hour_ns + 10**9, 2 * hour_ns + 2, 2 * hour_ns + 10**9])
    times = RequestTimestamps(lambda: next(readings))

    assert [times.next() - 2 * hour_ns for _ in range(5)] == [0, 1, 2, 3, 10**9]


@given(st.lists(st.integers(1, 2**63), min_size=1, max_size=50))
def test_timestamps_are_never_ahead_by_more_than_they_were(clock: list[int]) -> None:
    """A timestamp exceeds the latest time ever read by at most the number of calls since."""
    readings = iter(clock)
    times = RequestTimestamps(lambda: next(readings))
    given_out = [times.next() for _ in clock]

    assert all(earlier < later for earlier, later in itertools.pairwise(given_out))
    assert all(
        reading <= timestamp < max(clock[: index + 1]) + index + 1
        for index, (reading, timestamp) in enumerate(zip(clock, given_out, strict=True))
    )

"""Timestamps by a clock that is corrected, on and back: none comes twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.signing import CORRECTIONS, CorrectedTimestamps


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

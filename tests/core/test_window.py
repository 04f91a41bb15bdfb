"""The sliding window against a list that forgets nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core import window as module
from tallygate.core.window import MINUTE_S, SLOTS_MAX, SlidingWindow, Slot

STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=60)
"""Seconds since the step before, and how much is asked for."""


def most_in_a_span(takings: list[tuple[float, int]], span_s: float) -> int:
    """Return the most that lies in any window: one that is fullest ends with a taking."""
    most = first = inside = 0
    for end, amount in takings:
        inside += amount
        while takings[first][0] <= end - span_s:
            inside -= takings[first][1]
            first += 1
        most = max(most, inside)
    return most


@given(steps=STEPS, limit=st.integers(0, 10))
def test_no_window_holds_more_than_the_limit_and_room_is_never_denied(steps: list[tuple[int, int]], limit: int) -> None:
    """Whatever is asked when: what is taken never exceeds the limit in any minute, and only what would is refused."""
    window, takings, now = SlidingWindow(limit), list[tuple[float, int]](), 0
    for gap, amount in steps:
        now += gap
        recent = sum(a for t, a in takings if now - MINUTE_S < t)
        assert limit - recent == window.remaining(now)
        if window.wait_s(now, amount) == 0:
            assert recent + amount <= limit
            window.take(now, amount)
            takings.append((now, amount))
        else:
            assert recent + amount > limit

    assert most_in_a_span(takings, MINUTE_S) <= limit


@given(steps=STEPS, limit=st.integers(1, 10), amount=st.integers(1, 10))
def test_the_wait_is_told_to_the_second(steps: list[tuple[int, int]], limit: int, amount: int) -> None:
    """Who is told to wait is admitted after that, and not a second before; None is told where waiting never helps."""
    window, now = SlidingWindow(limit), 0
    for gap, taken in steps:
        now += gap
        window.take(now, taken)
    wait = window.wait_s(now, amount)

    if wait is None:
        assert amount > limit
        return
    if wait:
        assert window.wait_s(now + wait - 1, amount)
    assert window.wait_s(now + wait, amount) == 0


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(0, 12), st.integers(0, 90)), max_size=30
    )
)
def test_what_is_corrected_counts_as_it_was_used(steps: list[tuple[int, int, int, int]]) -> None:
    """What turns out to be another amount counts as that one from then on, and not at all once a minute is over."""
    window, now = SlidingWindow(1000), 0
    known: list[list[int]] = []
    slots: dict[int, Slot] = {}
    events: list[tuple[int, int, str, int]] = []
    for number, (gap, amount, used, later) in enumerate(steps):
        now += gap
        events += [(now, number, "take", amount), (now + later, number, "end", used)]
    for at, number, what, amount in sorted(events, key=lambda event: (event[0], event[2] == "end", event[1])):
        if what == "take":
            slots[number] = window.take(at, amount)
            known.append([at, amount, number])
        else:
            record = next(record for record in known if record[2] == number)
            window.correct(slots[number], amount - record[1], at)
            record[1] = amount
        live = [record for record in known if record[0] > at - MINUTE_S and record[1]]
        assert window.remaining(at) == 1000 - sum(record[1] for record in live)
        assert window.reset_s(at) == (max(record[0] for record in live) + MINUTE_S - at if live else 0)


def test_a_minute_has_its_first_instant_and_not_its_last() -> None:
    """What was taken exactly a minute ago counts no more; a moment earlier it still does."""
    window = SlidingWindow(1)
    window.take(100.0)

    assert window.wait_s(159.5) == 0.5
    assert window.wait_s(160.0) == 0


def test_what_is_taken_back_at_once_was_never_taken() -> None:
    """A call that is not admitted after all leaves nothing taken and nothing to wait for, and cannot come back."""
    window = SlidingWindow(2)
    slot = window.take(10.0)
    window.correct(slot, -1, 10.0)
    window.correct(slot, 5, 11.0)

    assert window.remaining(11.0) == 2
    assert window.reset_s(11.0) == 0


def test_the_limit_can_be_changed_at_any_time() -> None:
    """A higher limit gives room at once, a lower one takes it; what was taken stays counted."""
    window = SlidingWindow(2)
    window.take(0.0, 2)
    window.limit = 3
    assert window.remaining(1.0) == 1
    window.limit = 1

    assert window.remaining(2.0) == 0
    assert window.wait_s(2.0) == 58


def test_memory_is_bounded_whatever_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window with room for any number keeps few slots, and what they count is right but for a grain of time."""
    assert SLOTS_MAX == 10_000
    monkeypatch.setattr(module, "SLOTS_MAX", 100)
    window = SlidingWindow(10**12)
    for number in range(100_000):
        window.take(number / 1000)

    assert len(window._slots) <= 200
    assert 60_000 <= window.taken <= 60_600


@given(gaps=st.lists(st.floats(0, 3), min_size=60, max_size=120), limit=st.integers(20, 120))
def test_shared_slots_never_let_more_through(gaps: list[float], limit: int) -> None:
    """Where takings share slots, no window holds more than the limit either, and room is denied for a grain at most."""
    takings, now = list[tuple[float, int]](), 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLOTS_MAX", 20)
        window = SlidingWindow(limit)
        for gap in gaps:
            now += gap
            if window.wait_s(now) == 0:
                window.take(now)
                takings.append((now, 1))
            else:
                assert limit <= sum(amount for at, amount in takings if at > now - MINUTE_S - MINUTE_S / 20)

    assert most_in_a_span(takings, MINUTE_S) <= limit

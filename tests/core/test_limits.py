"""What an allowance counts, against a list that forgets nothing; and how limits are completed and told."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import Code
from tallygate.core.limits import ACCOUNT, KEY, NO_RATES, Allowance, Limits, Rate, Rates, Taking, render_reset
from tallygate.core.window import MINUTE_S


class Admitted(NamedTuple):
    """A call as the model remembers it."""

    at_s: int
    bound: int
    taking: Taking
    used: list[int | None]


ACTS = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(["call", "call", "end", "cancel"]), st.integers(1, 9)), max_size=60
)
LIMIT = st.none() | st.integers(0, 12)


@given(acts=ACTS, requests=LIMIT, tokens=LIMIT, concurrent=LIMIT)
def test_a_call_is_admitted_if_and_only_if_no_limit_is_in_its_way(
    acts: list[tuple[int, str, int]], requests: int | None, tokens: int | None, concurrent: int | None
) -> None:
    """Over any sequence of calls, endings and calls taken back: admitted is what the limits allow, and nothing else."""
    allowance, now = Allowance(KEY), 0
    allowance.limit(Limits(requests, tokens, concurrent))
    calls: list[Admitted] = []
    for gap, act, amount in acts:
        now += gap
        under_way = [call for call in calls if call.used[0] is None]
        if act == "call":
            recent = [call for call in calls if call.at_s > now - MINUTE_S]
            counted = sum(call.bound if call.used[0] is None else call.used[0] for call in recent)
            allowed = (
                (requests is None or len(recent) < requests)
                and (tokens is None or counted + amount <= tokens)
                and (concurrent is None or len(under_way) < concurrent)
            )
            refusal = allowance.find_refusal(now, amount)
            assert (refusal is None) == allowed
            if refusal is None:
                calls.append(Admitted(now, amount, allowance.take(now, amount), [None]))
        elif under_way and act == "end":
            call = under_way[0]
            call.used[0] = amount // 2
            allowance.end(call.taking, call.bound - amount // 2, now)
        elif under_way:
            call = under_way[-1]
            calls.remove(call)
            allowance.cancel(call.taking, call.bound, now)

        assert allowance.under_way == sum(call.used[0] is None for call in calls)
    assert allowance.is_idle(now + MINUTE_S) == (allowance.under_way == 0)


def test_a_limit_holds_from_the_moment_it_is_set() -> None:
    """Calls that were under way before there was a limit count against it; windows begin when it is set."""
    allowance = Allowance(KEY)
    taking = allowance.take(0, 5)
    allowance.limit(Limits(requests_per_minute=1, tokens_per_minute=5, concurrent_requests=1))

    refusal = allowance.find_refusal(1, 5)
    assert refusal is not None
    assert refusal.code is Code.CONCURRENCY_LIMIT_EXCEEDED
    allowance.end(taking, 5, 2)
    assert allowance.find_refusal(3, 5) is None


def test_what_ends_after_its_window_was_replaced_gives_nothing_to_the_new_one() -> None:
    """A limit that was taken off and set again is not exceeded by what a call gives back that began before."""
    allowance = Allowance(KEY)
    allowance.limit(Limits(requests_per_minute=1, tokens_per_minute=10))
    taking = allowance.take(0, 10)
    allowance.limit(Limits())
    allowance.limit(Limits(requests_per_minute=1, tokens_per_minute=10))
    allowance.cancel(taking, 10, 1)

    assert allowance.rates(1) == Rates(Rate(1, 1, 0), Rate(10, 10, 0))
    assert allowance.find_refusal(1, 11) is not None


@pytest.mark.parametrize("subject", [KEY, ACCOUNT])
def test_refusals_name_their_limit_and_whose_it_is(subject: str) -> None:
    """A refusal says who is limited, by which limit, and when to come back; where waiting never helps, it says that."""
    allowance = Allowance(subject)
    allowance.limit(Limits(requests_per_minute=1))
    allowance.take(0, 1)
    told = allowance.find_refusal(0.5, 1)
    assert told is not None
    assert (told.param, told.retry_after_s, told.retry) == ("requests_per_minute", 60, None)
    assert told.message.startswith(f"This {subject} ")

    for limits in (Limits(requests_per_minute=0), Limits(tokens_per_minute=9), Limits(concurrent_requests=0)):
        allowance = Allowance(subject)
        allowance.limit(limits)
        never = allowance.find_refusal(0, 10)
        assert never is not None
        assert (never.retry_after_s, never.retry) == (120, False)


def test_limits_are_completed_one_by_one() -> None:
    """A default fills each limit that is not set, and none that is."""
    own = Limits(requests_per_minute=5, spend_day_picousd=0)

    assert own.completed(Limits(7, 8, None, 9)) == Limits(5, 8, None, 0)
    assert Limits().completed(own) == own


def test_of_two_rates_that_is_told_which_is_reached_first() -> None:
    """What remains least is told, with its own limit and reset; a limit that only one has is told as it is."""
    near, far = Rate(100, 1, 50), Rate(10, 2, 5)

    assert Rates(near).tightened(Rates(far, near)) == Rates(near, near) == Rates(far, near).tightened(Rates(near))
    assert Rates(near, far).tightened(NO_RATES) == Rates(near, far)


def test_rates_are_told_as_openai_tells_them() -> None:
    """Three headers for each rate that is in force, the reset in minutes and seconds; none where none is."""
    assert dict(Rates(None, Rate(100, 7, 360)).headers()) == {
        b"x-ratelimit-limit-tokens": b"100",
        b"x-ratelimit-remaining-tokens": b"7",
        b"x-ratelimit-reset-tokens": b"6m0s",
    }
    assert [name for name, _ in Rates(Rate(1, 1, 0)).headers()] == [
        b"x-ratelimit-limit-requests",
        b"x-ratelimit-remaining-requests",
        b"x-ratelimit-reset-requests",
    ]
    assert NO_RATES.headers() == []
    assert [render_reset(seconds) for seconds in (0, 1, 59, 60, 361)] == ["0s", "1s", "59s", "1m0s", "6m1s"]

"""The budget of retries: a share of the calls, and a few besides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.retrybudget import RESERVE_S, RetryBudget


def drain(budget: RetryBudget) -> int:
    """Take all that there is; return how much it was."""
    return next(count for count in range(10**6) if not budget.take())


def test_calls_pay_a_share() -> None:
    """Where time pays nothing, a hundred calls pay for as many retries as is set."""
    budget = RetryBudget(lambda: 0.0, 20, 0)
    drain(budget)
    taken = 0
    for _ in range(100):
        budget.note_call()
        taken += budget.take()

    assert taken == 20


def test_time_pays_a_little() -> None:
    """Without any call, each second pays for some, and a reserve is kept of no more than ten seconds'."""
    now_s = [0.0]
    budget = RetryBudget(lambda: now_s[0], 20, 3)
    assert drain(budget) == 3 * RESERVE_S
    now_s[0] += 2
    assert drain(budget) == 6
    now_s[0] += 10_000

    assert drain(budget) == 3 * RESERVE_S


def test_none() -> None:
    """A budget of nothing pays for nothing."""
    budget = RetryBudget(lambda: 0.0, 0, 0)
    budget.note_call()

    assert not budget.take()
    assert budget.refused == 1


@given(st.integers(0, 100), st.integers(0, 50), st.lists(st.tuples(st.booleans(), st.integers(0, 500))))
def test_never_more_than_was_paid(percent: int, per_s: int, steps: list[tuple[bool, int]]) -> None:
    """Whatever comes in whatever order, retries never exceed the reserve, the share of the calls and the time."""
    now_s = [0.0]
    budget = RetryBudget(lambda: now_s[0], percent, per_s)
    calls = taken = 0
    for is_call, ms in steps:
        now_s[0] += ms / 1000
        if is_call:
            budget.note_call()
            calls += 1
        else:
            taken += budget.take()
        reserve = max(per_s * RESERVE_S, 1)
        assert taken <= reserve + calls * percent / 100 + now_s[0] * per_s + 1e-6

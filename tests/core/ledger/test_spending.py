"""What was spent by day, month and ever: against a list of all charges, and against limits."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.calendar import DAY_NS, month_of
from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.spending import (
    Budget,
    KeySpent,
    Period,
    Recount,
    Spending,
    Spendings,
    period_end_ns,
)
from tallygate.core.limits import UNLIMITED, Limits
from tests.core.ledger.world import World, end, usage

SECOND_NS = 10**9


class Charge(NamedTuple):
    """A charge, by the day of its hold."""

    day: int
    picousd: int


CHARGES = st.lists(st.builds(Charge, st.integers(20_000, 20_070), st.integers(1, 9)), max_size=30)


def is_in(period: Period, day: int, today: int) -> bool:
    """Return whether a day is in the period that today is in."""
    if period is Period.DAY:
        return day == today
    return period is Period.TOTAL or month_of(day) == month_of(today)


def day_of(year: int, month: int, day: int) -> int:
    """Return a day since 1970."""
    return (date(year, month, day) - date(1970, 1, 1)).days


@given(charges=CHARGES, order=st.randoms(use_true_random=False))
def test_sums_are_those_of_all_charges_in_any_order(charges: list[Charge], order: object) -> None:
    """The last day, the last month and all time have the sums of their charges, whatever order they came in."""
    assert hasattr(order, "shuffle")
    shuffled = [*charges]
    order.shuffle(shuffled)
    spending = Spending()
    for charge in shuffled:
        spending.charge(*charge)

    last = max((charge.day for charge in charges), default=0)
    month = max((month_of(charge.day) for charge in charges), default=0)
    assert spending.day_picousd == sum(charge.picousd for charge in charges if charge.day == last)
    assert spending.month_picousd == sum(charge.picousd for charge in charges if month_of(charge.day) == month)
    assert spending.total_picousd == sum(charge.picousd for charge in charges)


@given(charges=CHARGES, held=CHARGES, today=st.integers(20_000, 20_071))
def test_no_budget_is_told_lower_than_it_is(charges: list[Charge], held: list[Charge], today: int) -> None:
    """Of each period at least what was charged and is held in it counts: just that, unless the clock was set back."""
    spending = Spending()
    for charge in charges:
        spending.charge(*charge)
    for hold in held:
        spending.set_aside(*hold)
    is_back = any(charge.day > today for charge in [*charges, *held])
    budgets = {period: (spent, on_hold) for period, _, spent, on_hold in spending.budgets(UNLIMITED, today)}

    for period in Period:
        in_period = [[one.picousd for one in ones if is_in(period, one.day, today)] for ones in (charges, held)]
        true = tuple(map(sum, in_period))
        if is_back:
            assert all(told >= least for told, least in zip(budgets[period], true, strict=True))
        else:
            assert budgets[period] == true


def test_what_is_set_aside_counts_until_it_has_ended() -> None:
    """A hold counts on its day like a charge; what it comes to counts there too, also when the next day has begun."""
    spending = Spending()
    spending.set_aside(10, 7)
    spending.set_aside(10, 5)
    spending.release(10, 7)
    spending.charge(10, 3)

    assert spending.budgets(UNLIMITED, 10)[0] == Budget(Period.DAY, None, 3, 5)
    assert spending.budgets(UNLIMITED, 11)[0] == Budget(Period.DAY, None, 0, 0)
    spending.release(10, 5)
    spending.charge(11, 1)
    spending.charge(10, 2)
    assert spending.held == {}
    assert [budget.spent for budget in spending.budgets(UNLIMITED, 11)] == [1, 6, 6]


def test_periods_end_where_utc_says() -> None:
    """A day ends at midnight, a month with its last day, also in February of a leap year and in December."""
    for today, tomorrow, next_month in (
        ((2024, 2, 28), (2024, 2, 29), (2024, 3, 1)),
        ((2026, 12, 31), (2027, 1, 1), (2027, 1, 1)),
        ((2026, 11, 25), (2026, 11, 26), (2026, 12, 1)),
    ):
        day = day_of(*today)
        ends = [period_end_ns(period, day) for period in Period]
        due = [int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND_NS for moment in (tomorrow, next_month)]
        assert ends == [*due, None]
        assert month_of(day) == (today[0] - 1970) * 12 + today[1] - 1


@pytest.mark.parametrize(
    ("limits", "spent", "held", "left_s", "told"),
    [
        (Limits(spend_day_picousd=10), 6, 5, 3600, (1, None)),  # when a call under way has ended
        (Limits(spend_day_picousd=10), 11, 0, 3600, (3600, False)),  # tomorrow: too late for a client to wait for
        (Limits(spend_day_picousd=10), 11, 0, 100, (100, None)),  # tomorrow, which is near
        (Limits(spend_month_picousd=10), 11, 0, 100, (5 * 86_400 + 100, False)),
        (Limits(spend_total_picousd=10), 11, 0, 100, (120, False)),
    ],
)
def test_a_refusal_says_when_it_ends(
    limits: Limits, spent: int, held: int, left_s: int, told: tuple[int, bool | None]
) -> None:
    """Whoever can be served in a moment is told when; whoever cannot is told not to repeat the call."""
    day = day_of(2026, 11, 25)
    spendings = Spendings()
    spendings.restore(KeySpent("acct_1", "key_1", day, spent, month_of(day), spent, spent))
    spendings._keys["acct_1", "key_1"].set_aside(day, held)
    now_ns = (day + 1) * DAY_NS - left_s * SECOND_NS
    with pytest.raises(Refusal) as refused:
        spendings.check("acct_1", "key_1", (limits, UNLIMITED), 1, now_ns)

    assert refused.value.code is Code.SPEND_LIMIT_EXCEEDED
    assert (refused.value.retry_after_s, refused.value.retry) == told


def test_what_is_counted_anew_is_what_the_books_have() -> None:
    """A store without the sums gets from its entries those that the books have kept, with endings of every kind."""
    times = iter(range(10**18, 2 * 10**18, DAY_NS // 3))
    world = World(now_ns=lambda: next(times))
    world.open("a", 10**12)
    world.open("b", 10**12)
    for number in range(40):
        hold = world.hold(f"chatcmpl-{number}", "ab"[number % 2], key_id=f"key_{number % 3}")
        if number % 5 == 0:
            world.keep(world.books.void(hold, end(), "failed"))
        elif number % 7 == 0:
            world.keep(world.books.expire(hold, lambda *_: 1, usage(10, 0)))
        elif number % 11:
            world.settle(hold, number, number)
    recount = Recount()
    for written in world.entries:
        recount.take(written.entry)

    rows = world.books.spendings.rows(written.entry for written in world.entries)
    assert {row.key for row in rows} == {"key_0", "key_1", "key_2"}
    assert sorted(recount.rows()) == sorted(rows)
    assert world.audit().clean


def test_an_account_is_limited_with_all_its_keys() -> None:
    """What two keys have spent counts together for their account, and apart for each."""
    day = day_of(2026, 11, 25)
    spendings = Spendings()
    for key, picousd in (("key_1", 4), ("key_2", 5)):
        spendings.restore(KeySpent("acct_1", key, day, picousd, month_of(day), picousd, picousd))
    limits = Limits(spend_day_picousd=9)
    spendings.check("acct_1", "key_1", (limits, UNLIMITED), 5, day * DAY_NS)

    with pytest.raises(Refusal, match="This account may spend"):
        spendings.check("acct_1", "key_1", (UNLIMITED, limits), 1, day * DAY_NS)
    with pytest.raises(Refusal, match="This API key may spend"):
        spendings.check("acct_1", "key_1", (limits, UNLIMITED), 6, day * DAY_NS)

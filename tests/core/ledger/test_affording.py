"""What an account can pay for: all of a bound, as much of it as is affordable, or nothing, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import Code, Refusal
from tallygate.core.ledger.records import Shrink
from tallygate.core.limits import UNLIMITED, Limits
from tallygate.core.pricing import Price, Sheet, cost_of
from tests.core.ledger.world import FREE, MODEL, PRICE, SHEET, World

PROMPT = 1000


def price_of(completion: int) -> int:
    """Return what the prompt of these tests costs with so many completion tokens."""
    return cost_of(PRICE, SHEET.fee_ppm, PROMPT, completion).total


def refused(world: World, shrink: Shrink | None, **changes: Any) -> Refusal:
    """Return why a second inference is refused."""
    with pytest.raises(Refusal) as refusal:
        world.hold("chatcmpl-2", shrink=shrink, **changes)
    return refusal.value


@given(
    st.builds(Price, st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**15)),
    st.integers(0, 3_000_000),
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(1, 300),
    st.integers(0, 5000),
    st.integers(1, 10**18),
)
def test_a_shrunk_hold_is_affordable_and_one_token_more_is_not(
    price: Price, fee_ppm: int, prompt: int, choices: int, tokens_min: int, more: int, picousd: int
) -> None:
    """For any prices, a hold is taken whole, or with the highest affordable bound for each choice, or not at all."""
    world = World(Sheet(1, fee_ppm, {MODEL: price}))
    account = world.open(picousd=picousd)
    whole = choices * (tokens_min + more)

    def cost(tokens: int) -> int:
        return cost_of(price, fee_ppm, prompt, choices * tokens).total

    bounds: Any = {"prompt_tokens_max": prompt, "completion_tokens_max": whole}
    if cost(tokens_min) > picousd:
        with pytest.raises(Refusal) as refusal:
            world.hold(shrink=Shrink(choices, tokens_min), **bounds)
        assert refusal.value.code is Code.INSUFFICIENT_BALANCE
        return
    hold = world.hold(shrink=Shrink(choices, tokens_min), **bounds)

    tokens, rest = divmod(hold.completion_tokens_max, choices)
    assert (rest, account.held, account.available) == (0, cost(tokens), picousd - cost(tokens))
    assert tokens_min <= tokens <= tokens_min + more
    assert account.available >= 0
    if tokens < tokens_min + more:
        assert cost(tokens + 1) > picousd
    assert world.last.completion_tokens == hold.completion_tokens_max
    assert world.audit().problems == []


def test_a_bound_is_shrunk_only_where_that_is_allowed() -> None:
    """Without leave to shrink, a hold that costs a pico-dollar too much is refused, and told what all of it costs."""
    world = World()
    world.open(picousd=price_of(100) - 1)
    refusal = refused(world, None)
    assert refusal.code is Code.INSUFFICIENT_BALANCE
    assert refusal.metadata == {
        "balance_usd": "0.000000143007",
        "available_usd": "0.000000143007",
        "required_usd": "0.000000143008",
    }

    assert world.hold(shrink=Shrink(1, 1)).completion_tokens_max == 99


def test_no_bound_is_lowered_below_the_floor() -> None:
    """Money for one token less than the least is money for nothing; what is required then is the price of the least."""
    world = World()
    world.open(picousd=price_of(40) - 1)
    refusal = refused(world, Shrink(2, 20))

    assert refusal.code is Code.INSUFFICIENT_BALANCE
    assert (refusal.metadata or {})["required_usd"] == f"0.{price_of(40):012d}"
    world.deposit("a", 1)
    assert world.hold(shrink=Shrink(2, 20)).completion_tokens_max == 40


def test_money_that_is_only_held_is_waited_for() -> None:
    """Where the whole balance pays for the whole bound, a call is not cut short, but told to come again."""
    world = World()
    world.open(picousd=price_of(100) + price_of(50))
    world.hold(completion_tokens_max=100)
    refusal = refused(world, Shrink(1, 1))

    assert (refusal.code, refusal.retry_after_s) == (Code.BALANCE_HELD, 1)


@given(
    st.tuples(*[st.none() | st.integers(0, 300_000)] * 3),
    st.tuples(*[st.none() | st.integers(0, 300_000)] * 3),
    st.integers(0, 60),
    st.booleans(),
    st.integers(1, 300_000),
)
def test_a_hold_is_shrunk_to_what_limits_leave(
    of_key: tuple[int | None, ...], of_account: tuple[int | None, ...], first: int, is_held: bool, picousd: int
) -> None:
    """What would not pay for all of a bound in any case cuts it to all that is left; what only has to wait, waits."""
    world = World()
    account = world.open(picousd=picousd + price_of(first))
    before = world.hold(completion_tokens_max=first)
    spent, held = (0, price_of(first)) if is_held else (world.settle(before, PROMPT, first).cost.total, 0)
    named = [limit - spent for limit in (*of_key, *of_account) if limit is not None]
    left = [(account.balance, account.available), *[(limit, limit - held) for limit in named]]
    short = [now for idle, now in left if idle < price_of(100)]
    bound = max(
        [tokens for tokens in range(10, 101, 2) if price_of(tokens) <= min(short, default=10**12)], default=None
    )
    if bound is not None and price_of(bound) > min(now for _, now in left):
        bound = None
    limits = (Limits(None, None, None, *of_key), Limits(None, None, None, *of_account))
    try:
        taken = world.hold("chatcmpl-2", limits=limits, shrink=Shrink(2, 5)).completion_tokens_max
    except Refusal:
        taken = None

    assert taken == bound
    assert world.audit().problems == []


def test_a_spend_limit_that_others_hold_is_waited_for() -> None:
    """Where a limit pays for the whole bound once a call under way has ended, a call is not cut short because of it."""
    world = World()
    world.open(picousd=10**12)
    limits = (UNLIMITED, Limits(spend_day_picousd=price_of(100) + price_of(50)))
    first = world.hold(completion_tokens_max=100, limits=limits)
    refusal = refused(world, Shrink(1, 1), limits=limits)
    assert (refusal.code, refusal.param, refusal.retry_after_s) == (Code.SPEND_LIMIT_EXCEEDED, "spend_day", 1)

    world.settle(first, PROMPT, 60)
    assert world.hold("chatcmpl-2", shrink=Shrink(1, 1), limits=limits).completion_tokens_max == 90
    assert world.audit().problems == []


def test_a_spend_limit_for_less_than_the_least_is_told() -> None:
    """Where a limit leaves less than the least bound costs, the refusal says what that would have been."""
    world = World()
    world.open(picousd=10**12)
    limits = (Limits(spend_total_picousd=price_of(40) - 1), UNLIMITED)
    refusal = refused(world, Shrink(2, 20), limits=limits)

    assert (refusal.code, refusal.param, refusal.retry) == (Code.SPEND_LIMIT_EXCEEDED, "spend_total", False)
    assert (refusal.metadata or {})["required_usd"] == f"0.{price_of(40):012d}"
    assert refused(world, None, limits=limits).code is Code.SPEND_LIMIT_EXCEEDED


def test_two_calls_are_not_shrunk_to_the_same_money() -> None:
    """While a first call has all that is there, a second is told to wait; later it is cut to what is left."""
    world = World()
    world.open(picousd=price_of(60))
    first = world.hold(shrink=Shrink(1, 1))
    assert first.completion_tokens_max == 60
    assert refused(world, Shrink(1, 1)).code is Code.BALANCE_HELD

    world.settle(first, 10, 10)
    assert 0 < world.hold("chatcmpl-2", shrink=Shrink(1, 1)).completion_tokens_max < 100
    assert world.audit().problems == []


def test_an_account_below_zero_gets_nothing() -> None:
    """Below zero even a free call is refused as out of money, shrunk or not; and what is held does not hide it."""
    world = World()
    world.open(picousd=price_of(100))
    hold = world.hold()
    world.keep(world.books.correct("a", -price_of(100) - 1, "chargeback", "operator")[1])
    for model in (MODEL, FREE):
        for shrink in (None, Shrink(1, 1)):
            refusal = refused(world, shrink, model=model)
            assert refusal.code is Code.INSUFFICIENT_BALANCE
            assert refusal.message == "The account is 0.000000000001 US dollars below zero. Top it up."

    world.settle(hold, 1, 1)
    assert refused(world, Shrink(1, 1), model=FREE).code is Code.INSUFFICIENT_BALANCE

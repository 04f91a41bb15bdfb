"""What the operator is told of an account: by which entry, once, and with which exact amounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import Refusal
from tallygate.core.events import EMPTY, LOW_BALANCE, OVERRUN, OperatorEvent, find_events, out_of_money
from tests.core.ledger.world import FIRST, MODEL, World, end, request, usage

HELD = 143_008
"""What `World.hold` sets aside."""


def events_of(world: World, threshold: int | None) -> list[list[OperatorEvent]]:
    """Return what each entry told, from the first."""
    return [list(find_events(written, threshold)) for written in world.entries]


def told(world: World, threshold: int | None) -> list[str]:
    """Return the types of all events, in their order."""
    return [event.type for events in events_of(world, threshold) for event in events]


def test_the_settlement_that_crosses_the_threshold_tells() -> None:
    """Neither hold nor a settlement above the threshold tells; the one that crosses does, with what it left."""
    world = World()
    world.open(picousd=400_000)
    for number in (1, 2, 3):
        world.settle(world.hold(f"chatcmpl-{number}"), 500, 100)  # 80,007 and a fee of 8,001
    *before, last = events_of(world, 223_984)

    assert not any(before)
    (event,) = last
    assert event == OperatorEvent(
        LOW_BALANCE,
        world.last.time_ns,
        {
            "account": "a",
            "entry": world.entries[-1].id.hex(),
            "inference": "chatcmpl-3",
            "model": MODEL,
            "balance_usd": "0.000000135976",
            "available_usd": "0.000000135976",
            "threshold_usd": "0.000000223984",
        },
    )


def test_a_balance_at_the_threshold_is_not_low() -> None:
    """What is left may be the threshold itself; a pico-dollar less crosses it."""
    world = World()
    world.open(picousd=400_000)
    world.settle(world.hold(), 500, 100)
    left = 400_000 - 88_008

    assert told(world, left) == []
    assert told(world, left + 1) == [LOW_BALANCE]
    assert told(world, None) == []


def test_money_that_is_set_aside_is_not_gone() -> None:
    """A hold that leaves little available, and its void, tell nothing: the balance is what it was."""
    world = World()
    world.open(picousd=HELD)
    hold = world.hold()
    world.keep(world.books.void(hold, end(), "failed"))

    assert told(world, HELD) == []


def test_every_crossing_is_told_once() -> None:
    """Below the threshold nothing more is told; after a deposit that lifts the balance, the next crossing is."""
    world = World()
    world.open(picousd=10 * HELD)
    threshold = 10 * HELD - 1
    for number in (1, 2):
        world.settle(world.hold(f"chatcmpl-{number}"), 1, 1)
    world.deposit("a", 10 * HELD)
    world.settle(world.hold("chatcmpl-3"), 1, 1)
    assert told(world, threshold) == [LOW_BALANCE]

    world.keep(world.books.correct("a", -10 * HELD, "chargeback", "operator")[1])
    assert told(world, threshold) == [LOW_BALANCE, LOW_BALANCE]
    (event,) = events_of(world, threshold)[-1]
    assert "inference" not in event.data


def test_an_account_that_was_never_at_the_threshold_does_not_cross_it() -> None:
    """A new account, and one with less than the threshold from the first deposit on, tell nothing."""
    world = World()
    world.open(picousd=2 * HELD)
    world.settle(world.hold(), 1, 1)

    assert told(world, 3 * HELD) == []


def test_a_charge_after_a_crash_tells_too() -> None:
    """An expiry that charges the prompt can cross the threshold."""
    world = World()
    world.open(picousd=HELD)
    world.keep(world.books.expire(world.hold(), lambda *_: 0, usage(10, 0)))

    assert told(world, HELD) == [LOW_BALANCE]


@given(st.integers(-5, 30), st.lists(st.integers(-12, 12).filter(bool), max_size=30))
def test_what_is_told_is_what_a_ledger_by_hand_says(threshold: int, steps: list[int]) -> None:
    """Whatever comes in and goes out, an entry tells exactly if the balance before was not low and the one after is."""
    world = World()
    world.open()
    balance, crossings = 0, 0
    for step in steps:
        world.keep(world.books.correct("a", step, "step", "operator")[1])
        crossings += balance >= threshold > balance + step
        balance += step

    assert told(world, threshold) == [LOW_BALANCE] * crossings


def test_an_overrun_tells_what_it_cost_the_operator() -> None:
    """An inference whose upstream reported more than was held tells the excess at list price, and in ngonka."""
    world = World()
    world.open(picousd=10 * HELD)
    world.settle(world.hold(), 1000, 200, bill=1200)

    (event,) = events_of(world, None)[-1]
    assert event.type == OVERRUN
    assert event.data == {
        "account": "a",
        "entry": world.entries[-1].id.hex(),
        "inference": "chatcmpl-1",
        "model": MODEL,
        "upstream": FIRST.upstream,
        "overrun_usd": "0.000000033",
        "overrun_ngonka": str(-(-1200 * 33_000 // 176_008)),
    }
    assert told(world, 10 * HELD) == [LOW_BALANCE, OVERRUN]


def test_a_crash_is_no_overrun() -> None:
    """What a crash may have cost is told by the books, not as an overrun of an upstream."""
    world = World()
    world.open(picousd=HELD)
    world.keep(world.books.expire(world.hold(), lambda *_: 1000, None))

    assert world.last.overrun_ngonka == 1000
    assert told(world, None) == []


def test_a_refusal_tells_what_there_is_and_what_it_would_take() -> None:
    """The event of a call that cannot be paid carries the account, the model and the refusal's exact amounts."""
    world = World()
    world.open(picousd=7)
    with pytest.raises(Refusal) as refused:
        world.hold()

    assert out_of_money(request(), refused.value, 5) == OperatorEvent(
        EMPTY,
        5,
        {
            "account": "a",
            "model": MODEL,
            "balance_usd": "0.000000000007",
            "available_usd": "0.000000000007",
            "required_usd": "0.000000143008",
        },
    )

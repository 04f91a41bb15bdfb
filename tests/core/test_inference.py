"""The life of a call: the table is closed, money has one ending, and the design's rows are its rows."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.inference import OPEN, TABLE, Event, Inference, Money, State

ENDED = frozenset({State.SETTLED, State.VOIDED, State.EXPIRED})
UNDER_WAY = [State.SENT, State.STREAMING]
SETTLING = frozenset({Money.SETTLE_REPORTED, Money.SETTLE_COUNTED})


def at(state: State) -> Inference:
    """Return a call in a state."""
    inference = Inference("chatcmpl-1")
    inference.state = state
    return inference


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_table_is_closed(state: State, event: Event) -> None:
    """What is in the table moves the call; what is not breaks an invariant and moves nothing."""
    inference = at(state)
    row = TABLE.get((state, event))
    if row is None:
        for act in (inference.means, inference.on):
            with pytest.raises(InvariantBrokenError, match=event.name):
                act(event)
        assert inference.state is state
    else:
        assert inference.means(event) is row.money
        assert inference.state is state, "asking what an event means moves nothing"
        assert inference.on(event) is row.money
        assert inference.state is row.state


def test_states() -> None:
    """A call begins with nothing held; the states that hold money, that have ended, and the first are all there are."""
    assert Inference("chatcmpl-1").state is State.RECEIVED
    assert OPEN | ENDED | {State.RECEIVED} == set(State)
    assert [state for state in State if at(state).is_open] == [State.HELD, *UNDER_WAY, State.DRAINING]


def test_ended_is_ended() -> None:
    """Nothing can happen to a call that has ended."""
    assert not [state for state, _ in TABLE if state in ENDED]


@pytest.mark.parametrize("state", [State.HELD, *UNDER_WAY])
def test_ways_out(state: State) -> None:
    """Wherever money is held, the caller can leave, the store can fail, the owner can go, and a failure ends it."""
    assert TABLE[state, Event.CALLER_LEFT].state in ENDED
    assert TABLE[state, Event.OWNER_GONE] == (State.EXPIRED, Money.EXPIRE, "connection lost")
    assert TABLE[state, Event.STORE_FAILED][:2] == (state, Money.LEAVE)
    assert State.VOIDED in reachable(state)


def test_ways_out_of_draining() -> None:
    """A call whose caller is gone ends by its answer, by time, or like any other; nothing is ever sent again for it."""
    assert {TABLE[state, Event.LEFT_BILLED].state for state in UNDER_WAY} == {State.DRAINING}
    out = {event: row.state for (state, event), row in TABLE.items() if state is State.DRAINING}
    assert out == {
        Event.FIRST_BYTE: State.DRAINING,
        Event.NO_TRY_LEFT: State.VOIDED,
        Event.COMPLETED: State.SETTLED,
        Event.DIED: State.SETTLED,
        Event.UNUSABLE: State.VOIDED,
        Event.DRAIN_OVER: State.SETTLED,
        Event.STORE_FAILED: State.DRAINING,
        Event.OWNER_GONE: State.EXPIRED,
    }


def reachable(state: State) -> set[State]:
    """Return the states that a call in this one can come to."""
    found: set[State] = set()
    front = {state}
    while front:
        found |= front
        front = {row.state for (before, _), row in TABLE.items() if before in front} - found
    return found


def test_every_state_and_event_is_used() -> None:
    """Every state can be reached, and every event can happen somewhere."""
    assert reachable(State.RECEIVED) == set(State)
    assert {event for _, event in TABLE} == set(Event)


@pytest.mark.parametrize(("key", "row"), list(TABLE.items()))
def test_money_fits_the_move(key: tuple[State, Event], row: tuple[State, Money, str]) -> None:
    """Money is held on entering HELD only, charged on entering SETTLED only, given back on VOIDED only."""
    (before, _), (after, money, _) = key, row
    moves = {
        State.HELD: {Money.HOLD},
        State.SETTLED: SETTLING,
        State.VOIDED: {Money.VOID},
        State.EXPIRED: {Money.EXPIRE},
    }
    if after is not before and after in moves and not (before in OPEN and after in OPEN):
        assert money in moves[after]
    else:
        assert money in {Money.KEEP, Money.LEAVE, Money.NOTHING}
    assert money is not Money.NOTHING or before is State.RECEIVED


DESIGN = [
    # What happens to a call, from its reception on, how it ends, and what the last event means for the money.
    (["REFUSED"], State.RECEIVED, Money.NOTHING),
    (["HOLD_TAKEN", "DISPATCHED", "TRY_FAILED", "TRY_FAILED"], State.HELD, Money.KEEP),
    (["HOLD_TAKEN", "DISPATCHED", "TRY_FAILED", "CALLER_LEFT"], State.VOIDED, Money.VOID),
    (
        ["HOLD_TAKEN", "DISPATCHED", "TRY_FAILED", "DISPATCHED", "FIRST_BYTE", "COMPLETED"],
        State.SETTLED,
        Money.SETTLE_REPORTED,
    ),
    (["HOLD_TAKEN", "DISPATCHED", "NO_TRY_LEFT"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "UNUSABLE"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "DIED"], State.SETTLED, Money.SETTLE_REPORTED),
    (["HOLD_TAKEN", "CALLER_LEFT"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "TRY_FAILED", "NO_TRY_LEFT"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "TRY_FAILED", "CALLER_LEFT"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "DISPATCHED", "CALLER_LEFT"], State.SETTLED, Money.SETTLE_COUNTED),
    (["HOLD_TAKEN", "DISPATCHED", "LEFT_BILLED", "NO_TRY_LEFT"], State.VOIDED, Money.VOID),
    (["HOLD_TAKEN", "DISPATCHED", "LEFT_BILLED", "FIRST_BYTE", "COMPLETED"], State.SETTLED, Money.SETTLE_REPORTED),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "LEFT_BILLED", "DRAIN_OVER"], State.SETTLED, Money.SETTLE_COUNTED),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "CALLER_LEFT"], State.SETTLED, Money.SETTLE_COUNTED),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "STORE_FAILED"], State.STREAMING, Money.LEAVE),
    (["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "STORE_FAILED", "OWNER_GONE"], State.EXPIRED, Money.EXPIRE),
    (["HOLD_TAKEN", "OWNER_GONE"], State.EXPIRED, Money.EXPIRE),
    (["STORE_FAILED"], State.RECEIVED, Money.LEAVE),
]


@pytest.mark.parametrize(("events", "state", "money"), DESIGN)
def test_rows_of_the_design(events: list[str], state: State, money: Money) -> None:
    """Each row of the design's table ends where the design says, with the money where it says."""
    inference = Inference("chatcmpl-1")
    last = [inference.on(Event[event]) for event in events][-1]
    assert (inference.state, last) == (state, money)


@pytest.mark.parametrize(
    "events",
    [
        ["DISPATCHED"],
        ["FIRST_BYTE"],
        ["HOLD_TAKEN", "HOLD_TAKEN"],
        ["HOLD_TAKEN", "COMPLETED"],
        ["HOLD_TAKEN", "LEFT_BILLED"],
        ["HOLD_TAKEN", "DISPATCHED", "LEFT_BILLED", "TRY_FAILED"],
        ["HOLD_TAKEN", "DISPATCHED", "LEFT_BILLED", "LEFT_BILLED"],
        ["HOLD_TAKEN", "REFUSED"],
        ["HOLD_TAKEN", "DISPATCHED", "COMPLETED"],
        ["HOLD_TAKEN", "DISPATCHED", "DISPATCHED"],
        ["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "TRY_FAILED"],
        ["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "NO_TRY_LEFT"],
        ["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "COMPLETED", "CALLER_LEFT"],
        ["HOLD_TAKEN", "DISPATCHED", "FIRST_BYTE", "COMPLETED", "COMPLETED"],
        ["HOLD_TAKEN", "DISPATCHED", "NO_TRY_LEFT", "COMPLETED"],
        ["HOLD_TAKEN", "OWNER_GONE", "COMPLETED"],
    ],
)
def test_what_cannot_happen(events: list[str]) -> None:
    """Sending without a hold, a second try after the first byte, and a second ending are defects."""
    inference = Inference("chatcmpl-1")
    for event in events[:-1]:
        inference.on(Event[event])
    with pytest.raises(InvariantBrokenError):
        inference.on(Event[events[-1]])


@given(st.lists(st.sampled_from(list(Event)), max_size=12))
def test_money_has_one_ending(events: list[Event]) -> None:
    """In any course of events money is set aside at most once, and after that ends at most once."""
    inference = Inference("chatcmpl-1")
    course = [inference.on(event) for event in events if (inference.state, event) in TABLE]
    endings = [money for money in course if money in {*SETTLING, Money.VOID, Money.EXPIRE}]
    holds = course.count(Money.HOLD)
    assert len(endings) <= holds <= 1
    assert inference.is_open == (holds > len(endings))
    assert not endings or course[-1] is endings[0]


def test_every_row_says_what_the_caller_sees() -> None:
    """Each row that ends a call says what its caller sees; the drawn table has no empty ending."""
    assert all(row.caller for row in TABLE.values() if row.state in ENDED)


MOVES: list[tuple[list[tuple[int, str]], State]] = [
    ([], State.HELD),
    ([(0, "dispatched")], State.SENT),
    ([(0, "dispatched"), (1, "dispatched")], State.SENT),
    ([(0, "dispatched"), (1, "try_failed")], State.SENT),
    ([(0, "dispatched"), (0, "try_failed")], State.HELD),
    ([(0, "dispatched"), (1, "dispatched"), (0, "try_failed")], State.SENT),
    ([(0, "dispatched"), (1, "dispatched"), (0, "try_failed"), (1, "try_failed")], State.HELD),
    ([(0, "dispatched"), (0, "answered")], State.SENT),
    ([(0, "dispatched"), (0, "answered"), (1, "try_failed")], State.SENT),
    ([(0, "dispatched"), (0, "answered"), (1, "dispatched"), (1, "answered")], State.STREAMING),
]


@pytest.mark.parametrize(("moves", "state"), MOVES)
def test_parts_make_the_state_of_the_call(moves: list[tuple[int, str]], state: State) -> None:
    """A call is SENT while any part is under way, and STREAMING when each part has its first byte."""
    inference = Inference("chatcmpl-1")
    parts = [inference.begin_part() for _ in range(2)]
    inference.on(Event.HOLD_TAKEN)
    for number, move in moves:
        getattr(parts[number], move)()
    assert inference.state is state
    assert inference.answered == (state is State.STREAMING)


def test_parts_of_a_drained_call() -> None:
    """A drained call takes first bytes, late ones too, but sends no part again."""
    inference = Inference("chatcmpl-1")
    first, second = inference.begin_part(), inference.begin_part()
    inference.on(Event.HOLD_TAKEN)
    first.dispatched()
    inference.on(Event.LEFT_BILLED)
    first.answered()
    with pytest.raises(InvariantBrokenError):
        second.try_failed()
    second.dispatched()
    second.answered()
    assert inference.state is State.DRAINING


def test_a_part_goes_one_way() -> None:
    """No first byte comes of what was not sent, and none comes twice; what has one is not tried again."""
    inference = Inference("chatcmpl-1")
    part = inference.begin_part()
    inference.begin_part()
    inference.on(Event.HOLD_TAKEN)
    with pytest.raises(InvariantBrokenError):
        part.answered()
    part.dispatched()
    part.dispatched()
    part.answered()
    for move in (part.answered, part.try_failed):
        with pytest.raises(InvariantBrokenError):
            move()


@given(
    st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["dispatched", "try_failed", "answered"])))
)
def test_the_state_of_a_call_follows_from_its_parts(count: int, moves: list[tuple[int, str]]) -> None:
    """Whatever the parts do in whatever order, the call is where the states of its parts say."""
    inference = Inference("chatcmpl-1")
    parts = [inference.begin_part() for _ in range(count)]
    inference.on(Event.HOLD_TAKEN)
    for number, move in moves:
        try:
            getattr(parts[number % count], move)()
        except InvariantBrokenError:
            continue
        states = {part.state for part in parts}
        assert inference.state is (
            State.HELD if states == {State.HELD} else State.STREAMING if states == {State.STREAMING} else State.SENT
        )

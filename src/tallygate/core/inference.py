"""The life of one paid call, as a table.

    RECEIVED -> HELD <-> SENT -> STREAMING -> SETTLED | VOIDED              (EXPIRED: found without an owner)
                           `-> DRAINING <-'  -> SETTLED | VOIDED

Everything that can happen to a call (a caller who leaves, a node that dies, a store that fails) is an event in
this table and nothing else; the code that does I/O asks the table what it means for the money. What is not in the
table cannot happen, and is a defect if it does. The table in `ARCHITECTURE.md` is drawn from this one.

"First byte" is the first byte of an upstream's body. Until then a failed sending may be tried elsewhere under the
same hold; from then on it may not. A call is HELD until its request has been written to a connection, and again from a
failed sending until the next is written: whoever leaves while we are looking for one is neither charged for what failed
nor sent again.

DRAINING is a call whose caller is gone while its upstream bills the answer to the end anyway: the answer is read on,
unseen, for what it says it cost. Nothing is sent again for a caller who is not there.

A call can have several parts: prompts that are sent by themselves, each with its own tries. The table is about the
call; each `Part` is HELD, SENT or STREAMING by itself, and they make the call's state together:

* a call is SENT as soon as one of its parts is, and HELD again only when none is under way any more;
* its first byte has come when each part has one: until then nothing goes to the caller, no answer is read on, and a
  part that cannot be served is the call's NO_TRY_LEFT; from then on no part can be tried again;
* it is complete when all answers are. One that is UNUSABLE makes the call so, at once. One that dies in a stream of
  which the caller has seen something does not: the others go on to their ends, for they are paid for; then it has DIED;
* who leaves is drained if the answer of any part is billed to its end; parts that are not under way, or whose upstream
  stops billing when it is cut, are cut. Then it ends with DRAIN_OVER, but what was drained to its end is not estimated.

What the table settles is settled part by part: reported usage for an answer that has ended, tokens received for one
that was cut, nothing for a part that was not under way; the charge is for their sum.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from tallygate.core.errors import InvariantBrokenError


class State(Enum):
    """Where a call is."""

    __hash__ = object.__hash__  # members are single; Enum's own hash is slow Python, and this one is on the hot path

    RECEIVED = "received"
    HELD = "held"
    SENT = "sent"
    STREAMING = "streaming"
    DRAINING = "draining"
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"


class Event(Enum):
    """What can happen to a call."""

    __hash__ = object.__hash__  # as above

    REFUSED = "bad request, bad key, no funds, over a limit"
    HOLD_TAKEN = "the hold is durable"
    DISPATCHED = "the request goes to a node"
    TRY_FAILED = "fails before the first byte, the retry table allows another try"
    NO_TRY_LEFT = "fails before the first byte, no retry left or none allowed"
    FIRST_BYTE = "the first byte of the answer's body"
    COMPLETED = "the answer is complete"
    UNUSABLE = "unstreamed answer truncated, garbage, or 200 with an error; a stream that fails before any choice"
    DIED = "the stream dies: ends without [DONE], or with an error event"
    CALLER_LEFT = "the caller leaves (from the sending on: where the upstream stops billing when it is cut)"
    LEFT_BILLED = "the caller leaves, the upstream bills the answer to its end"
    DRAIN_OVER = "the answer has not ended in the time to drain, or the gateway stops"
    STOPPED = "the gateway stops, or the key ends, before the caller has seen any of it (later: as a stream that dies)"
    STORE_FAILED = "a commit fails (disk full, fsync error)"
    OWNER_GONE = "a later start, or the sweeper, finds the hold without an owner"


class Money(Enum):
    """What an event means for the money."""

    NOTHING = "nothing is held, nothing is charged"
    HOLD = "the most that the call can cost is set aside"
    KEEP = "the same hold"
    SETTLE_REPORTED = "reported usage if it can be true, else our count, `estimated`; never above the hold"
    SETTLE_COUNTED = "prompt + tokens received from the node, `estimated`; never above the hold"
    VOID = "all of the hold is given back; a possible bill stays with the operator"
    LEAVE = "the hold stays open; it expires at the next start"
    EXPIRE = "given back, the possible cost to `cost/unpaid`; or the prompt is charged (`after_crash`)"


class Transition(NamedTuple):
    """One row: where the call goes, what the money does, what the caller sees."""

    state: State
    money: Money
    caller: str


TABLE: Final[dict[tuple[State, Event], Transition]] = {
    (State.RECEIVED, Event.REFUSED): Transition(State.RECEIVED, Money.NOTHING, "4xx in OpenAI's shape"),
    (State.RECEIVED, Event.HOLD_TAKEN): Transition(State.HELD, Money.HOLD, ""),
    (State.RECEIVED, Event.STORE_FAILED): Transition(State.RECEIVED, Money.LEAVE, "503 `store_unavailable`"),
    (State.HELD, Event.DISPATCHED): Transition(State.SENT, Money.KEEP, ""),
    (State.HELD, Event.TRY_FAILED): Transition(State.HELD, Money.KEEP, "nothing"),
    (State.HELD, Event.NO_TRY_LEFT): Transition(State.VOIDED, Money.VOID, "502, 503 or 504 by the retry table"),
    (State.HELD, Event.CALLER_LEFT): Transition(State.VOIDED, Money.VOID, "gone"),
    (State.SENT, Event.TRY_FAILED): Transition(State.HELD, Money.KEEP, "nothing"),
    (State.SENT, Event.NO_TRY_LEFT): Transition(State.VOIDED, Money.VOID, "400, 502, 503 or 504 by the retry table"),
    (State.SENT, Event.FIRST_BYTE): Transition(State.STREAMING, Money.KEEP, ""),
    (State.SENT, Event.CALLER_LEFT): Transition(State.SETTLED, Money.SETTLE_COUNTED, "gone"),
    (State.STREAMING, Event.COMPLETED): Transition(
        State.SETTLED, Money.SETTLE_REPORTED, "usage and cost, then the end"
    ),
    (State.STREAMING, Event.UNUSABLE): Transition(State.VOIDED, Money.VOID, "502 `upstream_error`"),
    (State.STREAMING, Event.DIED): Transition(
        State.SETTLED, Money.SETTLE_REPORTED, "error event with the partial usage, then the end"
    ),
    (State.STREAMING, Event.CALLER_LEFT): Transition(State.SETTLED, Money.SETTLE_COUNTED, "gone"),
    **{
        (state, Event.LEFT_BILLED): Transition(State.DRAINING, Money.KEEP, "gone")
        for state in (State.SENT, State.STREAMING)
    },
    (State.DRAINING, Event.FIRST_BYTE): Transition(State.DRAINING, Money.KEEP, "gone"),
    (State.DRAINING, Event.NO_TRY_LEFT): Transition(State.VOIDED, Money.VOID, "gone"),
    (State.DRAINING, Event.COMPLETED): Transition(State.SETTLED, Money.SETTLE_REPORTED, "gone"),
    (State.DRAINING, Event.UNUSABLE): Transition(State.VOIDED, Money.VOID, "gone"),
    (State.DRAINING, Event.DIED): Transition(State.SETTLED, Money.SETTLE_REPORTED, "gone"),
    (State.DRAINING, Event.DRAIN_OVER): Transition(State.SETTLED, Money.SETTLE_COUNTED, "gone"),
    (State.DRAINING, Event.STORE_FAILED): Transition(State.DRAINING, Money.LEAVE, "gone"),
    (State.DRAINING, Event.OWNER_GONE): Transition(State.EXPIRED, Money.EXPIRE, "gone"),
    **{
        (state, Event.STOPPED): Transition(State.VOIDED, Money.VOID, "503 `network_unavailable`; 401 or 403")
        for state in (State.HELD, State.SENT, State.STREAMING)
    },
    **{
        (state, Event.STORE_FAILED): Transition(
            state, Money.LEAVE, "stream: error event, no usage, no [DONE]; JSON: 503 `store_unavailable`"
        )
        for state in (State.HELD, State.SENT, State.STREAMING)
    },
    **{
        (state, Event.OWNER_GONE): Transition(State.EXPIRED, Money.EXPIRE, "connection lost")
        for state in (State.HELD, State.SENT, State.STREAMING)
    },
}

OPEN: Final = frozenset({State.HELD, State.SENT, State.STREAMING, State.DRAINING})
"""The states in which money is set aside."""


class Inference:
    """Where one call is in the table.

    Args:
        id: The id that we minted for it, `chatcmpl-…`.
    """

    __slots__ = ("_answered", "_parts", "_under_way", "id", "state")

    def __init__(self, inference_id: str) -> None:
        self.id = inference_id
        self.state = State.RECEIVED
        self._parts = self._under_way = self._answered = 0

    def begin_part(self) -> Part:
        """Return one more part of the call; all begin before anything is sent."""
        self._parts += 1
        return Part(self)

    @property
    def answered(self) -> bool:
        """Whether each part has its first byte."""
        return self._answered == self._parts

    def count_part(self, before: State, after: State) -> None:
        """Take a part's move into the call's own state."""
        self._under_way += (after is not State.HELD) - (before is not State.HELD)
        self._answered += after is State.STREAMING
        if after is State.SENT:
            if self.state is State.HELD:
                self.on(Event.DISPATCHED)
        elif after is State.HELD:
            if not self._under_way:
                self.on(Event.TRY_FAILED)
        elif self.answered:
            self.on(Event.FIRST_BYTE)

    @property
    def is_open(self) -> bool:
        """Whether money is set aside for it."""
        return self.state in OPEN

    def means(self, event: Event) -> Money:
        """Return what an event would mean for the money.

        Raises:
            InvariantBrokenError: The table has no such row.
        """
        transition = TABLE.get((self.state, event))
        if transition is None:
            raise self._impossible(event)
        return transition.money

    def on(self, event: Event) -> Money:
        """Take an event, once what it means for the money is done, and return that.

        Raises:
            InvariantBrokenError: The table has no such row.
        """
        transition = TABLE.get((self.state, event))
        if transition is None:
            raise self._impossible(event)
        self.state = transition.state
        return transition.money

    def _impossible(self, event: Event) -> InvariantBrokenError:
        return InvariantBrokenError(f"{event.name} cannot happen to a call that is {self.state.value}")


class Part:
    """Where one part of a call is: HELD, SENT or STREAMING; its moves are events of the call (see above)."""

    __slots__ = ("_call", "state")

    def __init__(self, call: Inference) -> None:
        self._call = call
        self.state = State.HELD

    def dispatched(self) -> None:
        """Take note that a connection carries its request."""
        if self.state is State.HELD:
            self._move(State.SENT)

    def try_failed(self) -> None:
        """Take note that a sending failed and another one follows; raises `InvariantBrokenError` in a drained call."""
        if self._call.state is State.DRAINING:
            raise InvariantBrokenError("nothing is sent again for a caller who has left")
        self._move(State.HELD)

    def answered(self) -> None:
        """Take note that the first byte of its answer has come."""
        self._move(State.STREAMING)

    def _move(self, state: State) -> None:
        before = self.state
        if before is State.STREAMING or (state is State.STREAMING and before is State.HELD):
            raise InvariantBrokenError(f"a part that is {before.value} cannot become {state.value}")
        self.state = state
        self._call.count_part(before, state)

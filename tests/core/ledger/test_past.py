"""One past inference, read from its entries: also one of several parts, each of which is sent by itself."""

from __future__ import annotations

from msgspec.structs import replace

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, encode_entry
from tallygate.core.ledger.past import OPEN, PastCall, Wanted, read_call

BARE = Entry(e.FORMAT, e.ATTEMPT, bytes(16), 10**18, bytes(16), 1, inference="i-1", part=0, try_=0, upstream="nodes")
HOLD = replace(BARE, kind=e.HOLD, account="a", prompt_tokens=1000, completion_tokens=100)


def bill(ngonka: int, *, paid: bool, upstream: str = "nodes") -> tuple[e.Posting, ...]:
    """Return the postings of a bill."""
    bearer = e.COST_PAID if paid else e.COST_UNPAID
    return ((e.NGONKA, bearer, ngonka), (e.NGONKA, e.payable_account(upstream), -ngonka))


def read(*entries: Entry) -> PastCall:
    """Return the inference of these entries."""
    return read_call(1, [encode_entry(entry) for entry in entries])


def test_parts_and_tries_are_told_apart() -> None:
    """Three parts, of which one is tried twice, end with one charge: each sending has its own end, tokens and bill."""
    second = replace(BARE, part=1, upstream="broker")
    third = replace(BARE, part=2)
    failed = replace(second, prompt_tokens=0, completion_tokens=0, postings=bill(5, paid=False, upstream="broker"))
    again = replace(second, try_=1)
    ended = replace(again, prompt_tokens=20, completion_tokens=7, postings=bill(27, paid=True, upstream="broker"))
    first_ended = replace(BARE, prompt_tokens=10, completion_tokens=1, postings=bill(11, paid=True))
    settle = replace(third, kind=e.SETTLE, prompt_tokens=60, completion_tokens=10, postings=bill(32, paid=True))
    call = read(HOLD, second, third, failed, again, first_ended, ended, settle)

    assert [(s.began.part, s.began.try_, s.ended and s.ended.kind) for s in call.sendings] == [
        (0, 0, e.ATTEMPT),
        (1, 0, e.ATTEMPT),
        (2, 0, e.SETTLE),
        (1, 1, e.ATTEMPT),
    ]
    assert [call.tokens_of(sending) for sending in call.sendings] == [(10, 1), (0, 0), (30, 2), (20, 7)]
    assert call.bills == {"broker": (32, 5), "nodes": (43, 0)}
    assert Wanted(upstream="broker").admits(call)


def test_nobody_can_tell_what_a_crash_took_of_each_sending() -> None:
    """While an inference is open, and where an expiry has ended it, a sending has no tokens of its own."""
    second = replace(BARE, part=1)
    expire = replace(BARE, kind=e.EXPIRE, prompt_tokens=334, completion_tokens=0, postings=bill(40, paid=False))
    still_open, expired = read(HOLD, second), read(HOLD, second, expire)

    assert (still_open.state, expired.state) == (OPEN, "expired")
    for call in (still_open, expired):
        assert [call.tokens_of(sending) for sending in call.sendings] == [None, None]
    assert [sending.ended for sending in expired.sendings] == [expired.ending] * 2

"""One hold, its sendings, one ending: attempts, expiry, recovery, and acts that fail without a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.records import Account, Sending, SendingEnd
from tallygate.core.ledger.restoring import restore_hold, restore_sheet
from tallygate.core.pricing import BILL_NGONKA_MAX, Cost, Price, Sheet, revised
from tests.core.ledger.world import (
    FIRST,
    FREE,
    MODEL,
    SECOND,
    SHEET,
    USD,
    WRITER,
    World,
    end,
    make_clock,
    make_entropy,
    request,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.ledger.records import Hold

HOLD = 143_008
THIRD = Sending(0, 2, "nodes", "gonka1c")


def bill_of(table: dict[str, int]) -> Callable[[str, int, int], int]:
    """Return a bill by upstream, whatever the tokens."""
    return lambda upstream, _prompt, _completion: table[upstream]


def begin(world: World, hold: Hold, sending: Sending) -> e.Entry:
    """Begin a sending."""
    return world.keep(world.books.begin_attempt(hold, sending))


def stop(world: World, hold: Hold, sending: Sending, bill: int = 0) -> e.Entry:
    """End a sending."""
    return world.keep(world.books.end_attempt(hold, end(sending, bill)))


def test_retries_are_entries_of_their_own() -> None:
    """A sending begins with an attempt without tokens and ends with one that has them, billed to the operator."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    ended, begun = stop(world, hold, FIRST, 11), begin(world, hold, SECOND)
    begun_id = world.entries[-1].id
    ended_too = stop(world, hold, SECOND)

    assert (ended.kind, ended.ends, ended.part, ended.try_, ended.completion_tokens) == (e.ATTEMPT, None, 0, 0, 0)
    assert ended.postings == ((e.NGONKA, "cost/unpaid", 11), (e.NGONKA, "upstream/nodes/payable", -11))
    assert (begun.ends, begun.try_, begun.prompt_tokens, begun.completion_tokens) == (None, 1, None, None)
    assert (begun.upstream, begun.node, begun.postings) == ("nodes-2", "gonka1b", ())
    assert (ended_too.ends, ended_too.try_, ended_too.postings) == (begun_id, 1, ())
    assert (account.sequence, ended.account, ended.available_after) == (3, None, None)


def test_ending_is_told_with_the_last_sending() -> None:
    """After a retry the settlement names the sending that served."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    stop(world, hold, FIRST, 11)
    begin(world, hold, SECOND)
    world.settle(hold, 50, 20, 70, SECOND)

    assert (world.last.try_, world.last.upstream, world.last.node) == (1, "nodes-2", "gonka1b")
    assert world.audit().clean


def test_ended_inference_takes_nothing_more() -> None:
    """After its ending an inference has no second one, no sending, and no end of a sending."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    world.settle(hold, 50, 20)
    before = (account.available, account.held, account.sequence)

    for act in (
        lambda: world.books.settle(hold, end(), usage(1, 1)),
        lambda: world.books.void(hold, end(), "again"),
        lambda: world.books.expire(hold, bill_of({}), None),
        lambda: world.books.begin_attempt(hold, SECOND),
        lambda: world.books.end_attempt(hold, end()),
    ):
        with pytest.raises(InvariantBrokenError):
            act()
    assert (account.available, account.held, account.sequence) == before


def test_hold_of_other_books_is_not_ended_here() -> None:
    """A hold that merely looks like the open one cannot end it."""
    world, other = World(), World()
    world.open(picousd=USD)
    other.open(picousd=USD)
    world.hold()
    stranger = other.hold()

    with pytest.raises(InvariantBrokenError):
        world.books.settle(stranger, end(), usage(1, 1))


def test_sending_begins_once_and_ends_once() -> None:
    """No part is tried twice under one number, at whatever upstream, before or after it has ended."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    with pytest.raises(InvariantBrokenError):
        world.books.begin_attempt(hold, FIRST)
    stop(world, hold, FIRST)
    for again in (FIRST, FIRST._replace(upstream="elsewhere")):
        with pytest.raises(InvariantBrokenError):
            world.books.begin_attempt(hold, again)
    for other in (FIRST, SECOND):
        with pytest.raises(InvariantBrokenError):
            world.books.end_attempt(hold, end(other))
    assert begin(world, hold, SECOND).try_ == 1
    stop(world, hold, SECOND)
    with pytest.raises(InvariantBrokenError):
        world.books.begin_attempt(hold, SECOND)


@pytest.mark.parametrize("last", [FIRST, THIRD])
def test_ending_needs_the_one_sending_that_is_left(last: Sending) -> None:
    """While two sendings are open, or for one that is not, neither settle nor void is possible."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    begin(world, hold, SECOND)

    with pytest.raises(InvariantBrokenError):
        world.books.settle(hold, end(last), usage(1, 1))
    with pytest.raises(InvariantBrokenError):
        world.books.void(hold, end(last), "x")
    assert (account.held, hold.inference in world.books.holds) == (HOLD, True)


@pytest.mark.parametrize(
    "bad",
    [
        lambda books, hold: books.settle(hold, end(bill=-1), usage(1, 1)),
        lambda books, hold: books.settle(hold, end(bill=2**63), usage(1, 1)),
        lambda books, hold: books.settle(hold, end(), usage(-1, 1)),
        lambda books, hold: books.settle(hold, end(), usage(2**64, 1)),
        lambda books, hold: books.void(hold, end(bill=-1), "x"),
        lambda books, hold: books.end_attempt(hold, end(bill=-1)),
        lambda books, hold: books.begin_attempt(hold, Sending(2**64, 0, "nodes", None)),
        lambda books, hold: books.expire(hold, lambda *_: -1, None),
        lambda books, hold: books.hold(request("chatcmpl-2", prompt_tokens_max=-1)),
        lambda books, hold: books.hold(request("chatcmpl-2", model=FREE, prompt_tokens_max=2**64)),
        lambda books, hold: books.hold(request("chatcmpl-2", model="unknown")),
        lambda books, hold: books.publish(SHEET, "operator"),
        lambda books, hold: books.open_account("b", "\ud800", "\ud800"),
        lambda books, hold: books.deposit("a", 1, "\ud800", "operator"),
    ],
)
def test_act_that_fails_changes_nothing(bad: Callable[[Books, Hold], object]) -> None:
    """Whatever an act is given that it cannot book, balances, holds and sheets are as before, and the books go on."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()

    with pytest.raises((InvariantBrokenError, OverflowError, UnicodeEncodeError, LookupError)):
        bad(world.books, hold)
    assert (account.available, account.held, account.sequence) == (USD - HOLD, HOLD, 3)
    assert (world.books.holds, list(world.books.accounts)) == ({"chatcmpl-1": hold}, ["a"])
    assert (hold.open_sendings, hold.begun, world.books.deposits) == ({FIRST: None}, {(0, 0)}, {})
    world.settle(hold, 50, 20)
    assert world.audit().clean


def test_expired_hold_is_given_back_and_its_possible_cost_is_the_operators() -> None:
    """By default an orphan costs its caller nothing; all that its open sendings may have cost is crash loss."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    begin(world, hold, SECOND)
    begin(world, hold, THIRD)
    stop(world, hold, SECOND, 3)
    entry = world.keep(world.books.expire(hold, bill_of({"nodes": 40}), None))

    assert entry.postings == (
        (e.NGONKA, "cost/unpaid", 80),
        (e.NGONKA, "upstream/nodes/payable", -80),
        (e.USD, "account/a/available", HOLD),
        (e.USD, "account/a/held", -HOLD),
    )
    assert (account.available, account.held, entry.flags) == (USD, 0, 0)
    assert (entry.kind, entry.ends, entry.reason) == (e.EXPIRE, hold.id, "found without an owner")
    assert (entry.try_, entry.prompt_tokens, entry.completion_tokens) == (2, 0, 0)
    assert (entry.overrun_ngonka, entry.overrun_list_picousd) == (80, 2 * HOLD)
    report = world.audit()
    assert report.clean
    assert (dict(report.lost_ngonka), dict(report.lost_picousd)) == ({MODEL: 80}, {MODEL: 2 * HOLD})
    assert not report.overrun_picousd


def test_expired_hold_can_charge_the_prompt() -> None:
    """By setting the prompt is charged; its share of the bill is paid, the rest is crash loss."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    entry = world.keep(world.books.expire(hold, bill_of({"nodes": 1000}), usage(334, 0, e.Flag.ESTIMATED)))
    total = 33_407 + 3_341
    unpaid = -(-1000 * (HOLD - total) // HOLD)

    assert (account.available, account.held) == (USD - total, 0)
    assert entry.flags == e.Flag.ESTIMATED | e.Flag.CHARGED_AFTER_CRASH
    assert (e.USD, "income/base", 33_407) in entry.postings
    assert (entry.overrun_ngonka, entry.overrun_list_picousd) == (unpaid, HOLD - total)
    assert (e.NGONKA, "cost/paid", 1000 - unpaid) in entry.postings
    assert world.audit().clean


def test_expiry_never_charges_beyond_the_hold_nor_for_what_had_failed() -> None:
    """An estimate above the hold charges the hold; with no sending open there is nothing to charge for."""
    world = World()
    account = world.open(picousd=USD)
    world.keep(world.books.expire(world.hold("chatcmpl-1"), bill_of({"nodes": 1}), usage(10**6, 0)))
    failed = world.hold("chatcmpl-2")
    stop(world, failed, FIRST, 5)
    entry = world.keep(world.books.expire(failed, bill_of({}), usage(10**6, 0)))

    assert account.available == USD - HOLD
    assert (entry.upstream, entry.flags, entry.overrun_ngonka) == (None, 0, 0)
    assert world.audit().clean


@pytest.mark.parametrize("tries", [1, 8, 40])
def test_absurd_rates_do_not_keep_a_start_from_expiring(tries: int) -> None:
    """However much many open sendings may have billed, the sum stays within 64 bits, and so the start goes on."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    for number in range(1, tries):
        begin(world, hold, Sending(0, number, f"nodes-{number % 3}", None))
    world.keep(world.books.expire(hold, lambda *_: BILL_NGONKA_MAX, None))

    assert world.last.overrun_ngonka == BILL_NGONKA_MAX
    assert world.audit().clean


def restore(world: World) -> Books:
    """Return new books, as a start reads them back from a store with these entries."""
    books = Books(WRITER, 2, make_clock(), make_entropy())
    for account in world.books.accounts.values():
        books.accounts[account.id] = Account(
            account.id, account.name, account.created_ns, account.available, account.held, account.sequence
        )
    for written in world.entries:
        if written.entry.kind == e.SHEET:
            restore_sheet(books, world.books.sheets[written.entry.sheet_version or 0])
    for inference in world.books.holds:
        restore_hold(books, [(w.id, w.entry) for w in world.entries if w.entry.inference == inference])
    return books


def test_restored_hold_is_the_one_that_was_open() -> None:
    """A hold is read back with its price, its cost, and just those sendings that had not ended."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    world.keep(world.books.publish(revised(SHEET, {MODEL: Price(1, 1)}), "operator"))
    stop(world, hold, FIRST, 3)
    begin(world, hold, SECOND)
    begin(world, hold, THIRD)
    stop(world, hold, SECOND, 4)
    books = restore(world)
    restored = books.holds["chatcmpl-1"]

    assert (restored.id, restored.cost, restored.price, restored.sheet_version) == (hold.id, hold.cost, hold.price, 1)
    assert (restored.open_sendings, restored.begun) == (hold.open_sendings, {(0, 0), (0, 1), (0, 2)})
    assert restored.account is books.accounts["a"]
    assert books.sheet.version == 2
    world.keep(books.settle(restored, SendingEnd(THIRD, 0, 0, 7), usage(50, 20))[1])
    assert world.last.epoch == 2
    assert books.accounts["a"].available == USD - Cost(11_007, 1_101).total


def test_latest_sheet_is_in_force_in_whatever_order_they_are_read() -> None:
    """Sheets that are read back newest first leave the newest in force, and all of them known."""
    books = Books(WRITER, 2, make_clock(), make_entropy())
    for version in (2, 3, 1):
        restore_sheet(books, Sheet(version, 0, SHEET.prices), version * 10)

    assert (books.sheet.version, sorted(books.sheets), books.sheet_ns) == (3, [1, 2, 3], 30)

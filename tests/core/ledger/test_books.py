"""Who may move what: every act, what it posts, and when it is refused."""

from __future__ import annotations

import pytest

from tallygate.core.errors import Code, InvariantBrokenError, Refusal
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.records import Correction, UnknownAccountError
from tallygate.core.money import ACCOUNT_PICOUSD_MAX
from tallygate.core.pricing import Cost, Price, Sheet, revised
from tests.core.ledger.world import FIRST, FREE, MODEL, PRICE, SHEET, USD, WRITER, World, end, request, usage

AV, HELD = "account/a/available", "account/a/held"
HOLD = 143_008
"""1000 * 100 + 100 * 300 + 7 = 130,007 and 13,000.7 of fee, rounded."""


def test_every_entry_names_its_writer_epoch_and_time() -> None:
    """An entry carries the writer, the epoch, the time, and a nonce that no other has."""
    world = World()
    world.open(picousd=USD)

    assert {(w.entry.format, w.entry.writer, w.entry.epoch) for w in world.entries} == {(1, WRITER, 1)}
    assert [w.entry.time_ns for w in world.entries] == sorted(w.entry.time_ns for w in world.entries)
    assert len({w.entry.nonce for w in world.entries}) == len(world.entries)
    assert all(w.raw == e.encode_entry(w.entry) and w.id == e.entry_id(w.raw) for w in world.entries)


def test_account_opens_empty_and_nameless() -> None:
    """Opening is the account's first entry; the customer's name is not in it."""
    world = World()
    account = world.open()

    assert (account.available, account.held, account.name) == (0, 0, "Ann")
    assert (world.last.kind, world.last.account, world.last.account_sequence) == (e.NOTE, "a", 1)
    assert (world.last.available_after, world.last.held_after, world.last.postings) == (0, 0, ())
    assert b"Ann" not in world.entries[-1].raw
    with pytest.raises(InvariantBrokenError):
        world.books.open_account("a", "Bob", "operator")


def test_note_counts_in_its_account_or_in_none() -> None:
    """A note of a key's life is an entry of its account; one without an account is of none."""
    world = World()
    world.open()
    noted = world.keep(world.books.note("a", "key created", "operator", key_id="key_1"))
    general = world.keep(world.books.note(None, "restored", "operator"))

    assert (noted.account_sequence, noted.key_id, noted.reason) == (2, "key_1", "key created")
    assert (general.account, general.account_sequence, general.available_after) == (None, None, None)
    with pytest.raises(UnknownAccountError):
        world.books.note("b", "key created", "operator")


def test_deposit_moves_money_from_the_world() -> None:
    """A deposit posts to `available` and `world`, and says what is there then."""
    world = World()
    account = world.open()
    deposit = world.deposit("a", 5 * USD, "invoice 7")

    assert world.last.postings == ((e.USD, AV, 5 * USD), (e.USD, "world", -5 * USD))
    assert (world.last.account_sequence, world.last.available_after, world.last.held_after) == (2, 5 * USD, 0)
    assert (world.last.reference, world.last.actor) == ("invoice 7", "operator")
    assert (account.available, deposit.picousd, deposit.replayed) == (5 * USD, 5 * USD, False)
    assert deposit.id == world.entries[-1].id


@pytest.mark.parametrize("picousd", [USD, -USD, -3 * USD])
def test_correction_moves_money_either_way(picousd: int) -> None:
    """A correction posts to `available` and `corrections`, says who and why, and may end below zero."""
    world = World()
    account = world.open(picousd=2 * USD)
    correction, written = world.books.correct("a", picousd, "paid twice", "grace")
    world.keep(written)

    assert world.last.kind == e.CORRECTION
    assert world.last.postings == ((e.USD, AV, picousd), (e.USD, "corrections", -picousd))
    assert (world.last.actor, world.last.reason, world.last.reference) == ("grace", "paid twice", None)
    assert account.balance == world.last.available_after == 2 * USD + picousd
    assert correction == Correction(world.entries[-1].id, picousd, replayed=False)
    assert world.audit().problems == []


@pytest.mark.parametrize(
    ("balance", "picousd"),
    [(0, 0), (0, ACCOUNT_PICOUSD_MAX + 1), (1, ACCOUNT_PICOUSD_MAX), (0, -ACCOUNT_PICOUSD_MAX - 1)],
)
def test_correction_of_nothing_or_beyond_the_cap_is_refused(balance: int, picousd: int) -> None:
    """A correction changes something, and takes no account beyond its cap, in credit or in debt."""
    world = World()
    account = world.open(picousd=balance)
    with pytest.raises(Refusal) as refused:
        world.books.correct("a", picousd, "why", "grace")

    assert (refused.value.code, refused.value.param) == (Code.INVALID_VALUE, "usd")
    assert account.balance == balance


def test_account_below_zero_takes_money_but_no_calls() -> None:
    """Below zero no call is held, calls under way still end, and money that comes in counts from where it is."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold("chatcmpl-1")
    world.keep(world.books.correct("a", -2 * USD, "chargeback", "grace")[1])
    with pytest.raises(Refusal) as refused:
        world.hold("chatcmpl-2")
    world.settle(hold, 50, 20)

    assert refused.value.code is Code.INSUFFICIENT_BALANCE
    assert (refused.value.metadata or {})["available_usd"].startswith("-1.")
    assert account.held == 0
    world.deposit("a", USD)
    assert account.balance < 0
    assert world.audit().problems == []


def test_deposit_reference_is_booked_once() -> None:
    """The same reference and amount give the first deposit again; another amount conflicts, another account not."""
    world = World()
    account = world.open("a")
    world.open("b")
    first = world.deposit("a", USD, "r")

    assert world.deposit("a", USD, "r") == first._replace(replayed=True)
    assert account.available == USD
    with pytest.raises(Refusal) as refused:
        world.deposit("a", 2 * USD, "r")
    assert (refused.value.code, refused.value.param) == (Code.CONFLICT, "reference")
    assert not world.deposit("b", 2 * USD, "r").replayed
    assert world.deposit("a", USD).id != world.deposit("a", USD).id


@pytest.mark.parametrize("picousd", [0, -1, -(2**70)])
def test_deposit_of_nothing_is_refused(picousd: int) -> None:
    """A deposit is more than zero."""
    world = World()
    account = world.open()

    with pytest.raises(Refusal) as refused:
        world.deposit("a", picousd)
    assert refused.value.code is Code.INVALID_VALUE
    assert (account.available, account.sequence) == (0, 1)


def test_account_holds_at_most_a_million_dollars() -> None:
    """The cap counts what is held too, is reached exactly, and is not exceeded by a pico-dollar."""
    world = World()
    account = world.open()
    world.deposit("a", ACCOUNT_PICOUSD_MAX - 1)
    world.hold()

    for picousd in (2, 2**64, 10**27):
        with pytest.raises(Refusal) as refused:
            world.deposit("a", picousd)
        assert refused.value.code is Code.INVALID_VALUE
    world.deposit("a", 1)
    assert account.available + account.held == ACCOUNT_PICOUSD_MAX


@pytest.mark.parametrize("act", ["deposit", "hold"])
def test_unknown_account_has_no_money(act: str) -> None:
    """Nothing is booked for an account that is not there."""
    world = World()
    with pytest.raises(UnknownAccountError):
        world.deposit("b", 1) if act == "deposit" else world.hold(account="b")


def test_hold_is_the_price_of_the_bounds() -> None:
    """A hold sets aside both bounds, the call and the fee, at the sheet in force, and names its first sending."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    entry = world.last

    assert entry.postings == ((e.USD, AV, -HOLD), (e.USD, HELD, HOLD))
    assert (entry.available_after, entry.held_after, entry.account_sequence) == (USD - HOLD, HOLD, 3)
    assert (account.available, account.held) == (USD - HOLD, HOLD)
    assert (entry.inference, entry.key_id, entry.model, entry.sheet_version) == ("chatcmpl-1", "key_1", MODEL, 1)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.flags) == (1000, 100, 0)
    assert (entry.part, entry.try_, entry.upstream, entry.node) == FIRST
    assert (hold.cost, hold.id) == (Cost(130_007, 13_001), world.entries[-1].id)


def test_exact_balance_is_enough_and_a_pico_dollar_less_is_not() -> None:
    """A hold may take all that is available, and not one pico-dollar more."""
    world = World()
    account = world.open(picousd=HOLD)
    world.hold()
    world.open("b", HOLD - 1)

    assert account.available == 0
    with pytest.raises(Refusal):
        world.hold("chatcmpl-2", "b")


def test_poor_and_busy_accounts_are_told_apart() -> None:
    """Money that is not there is `insufficient_balance`; money that is held is `balance_held`, with a time to retry."""
    world = World()
    world.open(picousd=HOLD + 5)
    hold = world.hold()
    with pytest.raises(Refusal) as busy:
        world.hold("chatcmpl-2")
    world.settle(hold, 1000, 100)
    with pytest.raises(Refusal) as poor:
        world.hold("chatcmpl-3")

    assert (busy.value.code, busy.value.retry_after_s) == (Code.BALANCE_HELD, 1)
    assert busy.value.metadata == {
        "balance_usd": "0.000000143013",
        "available_usd": "0.000000000005",
        "required_usd": "0.000000143008",
    }
    assert (poor.value.code, poor.value.retry_after_s) == (Code.INSUFFICIENT_BALANCE, None)
    assert poor.value.metadata == {
        "balance_usd": "0.000000000005",
        "available_usd": "0.000000000005",
        "required_usd": "0.000000143008",
    }


def test_balance_that_would_just_do_is_held_and_not_missing() -> None:
    """When the whole balance is just what a call can cost, the caller is told to wait, not to pay."""
    world = World()
    world.open(picousd=HOLD)
    world.hold(completion_tokens_max=0)
    with pytest.raises(Refusal) as refused:
        world.hold("chatcmpl-2")

    assert refused.value.code is Code.BALANCE_HELD


def test_account_below_zero_cannot_even_call_a_free_model() -> None:
    """An account that a correction took below zero is out of money for everything."""
    world = World()
    account = world.open()
    account.available = -1

    with pytest.raises(Refusal) as refused:
        world.hold(model=FREE)
    assert refused.value.code is Code.INSUFFICIENT_BALANCE
    assert refused.value.metadata is not None
    assert refused.value.metadata["available_usd"] == "-0.000000000001"


def test_settlement_charges_what_was_used() -> None:
    """A settlement posts base and fee, gives the rest back, and books the upstream's bill as paid."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    settlement = world.settle(hold, 50, 20, bill=70)
    entry = world.last

    assert settlement.cost == Cost(11_007, 1_101)
    assert entry.postings == (
        (e.NGONKA, "cost/paid", 70),
        (e.NGONKA, "upstream/nodes/payable", -70),
        (e.USD, AV, HOLD - 12_108),
        (e.USD, HELD, -HOLD),
        (e.USD, "income/base", 11_007),
        (e.USD, "income/fee", 1_101),
    )
    assert (account.available, account.held) == (USD - 12_108, 0)
    assert (entry.kind, entry.ends, entry.inference) == (e.SETTLE, hold.id, "chatcmpl-1")
    assert (entry.available_after, entry.held_after, entry.account_sequence) == (USD - 12_108, 0, 4)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.upstream_reference) == (50, 20, "ref-1")
    assert (entry.overrun_ngonka, entry.overrun_list_picousd, entry.flags) == (None, None, 0)
    assert world.books.holds == {}


def test_settlement_keeps_the_flags_of_the_usage() -> None:
    """How the tokens were found is said in the entry."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    flags = e.Flag.ESTIMATED | e.Flag.CUT
    settlement, written = world.books.settle(hold, end(), usage(1, 1, flags))

    assert settlement.flags == flags == written.entry.flags


@pytest.mark.parametrize(("prompt", "completion"), [(1001, 100), (1000, 101), (10**9, 10**9)])
def test_charge_never_exceeds_its_hold(prompt: int, completion: int) -> None:
    """Usage above the hold charges the hold; the excess is overrun: flagged, priced, its share of the bill unpaid."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    settlement = world.settle(hold, prompt, completion, bill=1_000_003)
    base = prompt * 100 + completion * 300 + 7
    listed = base + (base * 100_000 + 500_000) // 10**6
    unpaid = -(-1_000_003 * (listed - HOLD) // listed)

    assert settlement == (Cost(130_007, 13_001), e.Flag.OVERRUN)
    assert (account.available, account.held) == (USD - HOLD, 0)
    assert (world.last.flags, world.last.overrun_list_picousd) == (e.Flag.OVERRUN, listed - HOLD)
    assert world.last.overrun_ngonka == unpaid
    assert (e.NGONKA, "cost/unpaid", unpaid) in world.last.postings
    assert (e.NGONKA, "upstream/nodes/payable", -1_000_003) in world.last.postings
    assert (world.last.prompt_tokens, world.last.completion_tokens) == (prompt, completion)
    assert world.audit().clean


def test_overrun_begins_with_one_pico_dollar() -> None:
    """Usage that costs just the hold is no overrun; one pico-dollar more is."""
    world = World(Sheet(1, 0, {MODEL: Price(1, 1)}))
    world.open(picousd=USD)

    assert world.settle(world.hold("chatcmpl-1"), 1000, 100) == (Cost(1100, 0), e.Flag(0))
    assert world.settle(world.hold("chatcmpl-2"), 1001, 100) == (Cost(1100, 0), e.Flag.OVERRUN)
    assert world.last.overrun_list_picousd == 1


def test_tokens_beyond_one_bound_are_no_overrun_while_the_hold_pays() -> None:
    """What counts is the money: fewer prompt tokens can pay for more completion tokens."""
    world = World()
    world.open(picousd=USD)
    settlement = world.settle(world.hold(), 0, 300)

    assert settlement == (Cost(90_007, 9_001), e.Flag(0))


def test_free_model_holds_and_costs_nothing() -> None:
    """A free model is held and settled without a USD posting; what it cost upstream is still booked."""
    world = World()
    account = world.open()
    settlement = world.settle(world.hold(model=FREE), 10**9, 10**9, bill=5)

    assert settlement == (Cost(0, 0), e.Flag(0))
    assert world.last.postings == ((e.NGONKA, "cost/paid", 5), (e.NGONKA, "upstream/nodes/payable", -5))
    assert (account.available, account.held) == (0, 0)
    assert world.audit().clean


def test_void_gives_everything_back() -> None:
    """A void returns the hold to the pico-dollar; what the sending may have cost stays with the operator."""
    world = World()
    account = world.open(picousd=USD)
    hold = world.hold()
    entry = world.keep(world.books.void(hold, end(bill=9), "no_try_left: upstream_error"))

    assert entry.postings == (
        (e.NGONKA, "cost/unpaid", 9),
        (e.NGONKA, "upstream/nodes/payable", -9),
        (e.USD, AV, HOLD),
        (e.USD, HELD, -HOLD),
    )
    assert (account.available, account.held) == (USD, 0)
    assert (entry.kind, entry.ends, entry.reason) == (e.VOID, hold.id, "no_try_left: upstream_error")
    assert (entry.overrun_ngonka, entry.overrun_list_picousd) == (None, None)


def test_charge_follows_the_sheet_of_its_hold() -> None:
    """A price that changes while a call is under way changes nothing for that call, also over a restart."""
    world = World()
    world.open(picousd=USD)
    hold = world.hold()
    world.keep(world.books.publish(revised(SHEET, {MODEL: Price(1, 1)}, fee_ppm=0), "operator"))
    later = world.hold("chatcmpl-2")
    settlement = world.settle(hold, 50, 20)

    assert settlement.cost == Cost(11_007, 1_101)
    assert (world.last.sheet_version, later.sheet_version) == (1, 2)
    assert later.cost == Cost(1100, 0)
    assert world.audit().clean


def test_sheet_is_in_the_books_in_full_and_follows_the_one_before() -> None:
    """A sheet's entry has all of it; a version that is skipped, repeated or turned back is a defect."""
    world = World()

    assert world.last.kind == e.SHEET
    assert Sheet.decode(world.last.reason or "") == SHEET
    assert (world.last.sheet_version, world.last.account, world.last.postings) == (1, None, ())
    for version in (0, 1, 3):
        with pytest.raises(InvariantBrokenError):
            world.books.publish(Sheet(version, 0, {MODEL: PRICE}), "operator")
    assert world.books.sheet is SHEET


def test_open_hold_is_refused_a_second_time() -> None:
    """One inference has one hold."""
    world = World()
    account = world.open(picousd=USD)
    world.hold()

    with pytest.raises(InvariantBrokenError):
        world.books.hold(request())
    assert account.held == HOLD


def test_time_that_goes_backwards_does_not_hurt() -> None:
    """Balances and sequences do not depend on the clock."""
    times = iter(range(10**18, 0, -(10**15)))
    world = World(now_ns=lambda: next(times))
    world.open(picousd=USD)
    world.settle(world.hold(), 50, 20)

    assert world.audit().clean

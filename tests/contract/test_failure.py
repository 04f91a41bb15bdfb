"""What every ledger does when its store fails, or is taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.errors import FencedError, InvariantBrokenError, StoreUnavailableError
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.records import Account
from tallygate.core.ledger.restoring import restore_sheet
from tests.contract.world import (
    HOLD,
    MODEL,
    RATE,
    SECOND,
    SHEET,
    USD,
    WRITER,
    Machine,
    Wrapper,
    end,
    find_balance,
    fund,
    request,
    serve,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.core.ledger.records import Hold, Written
    from tallygate.storage.embedded import EmbeddedLedger
    from tallygate.storage.journal import Journal, NewAccount

CHARGE = 12_108


ACTS: dict[str, Callable[[EmbeddedLedger, Account, Hold], Awaitable[object]]] = {
    "open_account": lambda ledger, _, __: ledger.open_account("Bob", "operator"),
    "deposit": lambda ledger, account, _: ledger.deposit(account.id, USD, None, "operator"),
    "replayed deposit": lambda ledger, account, _: ledger.deposit(account.id, 1, "r", "operator"),
    "publish": lambda ledger, _, __: ledger.publish(SHEET, "operator"),
    "hold": lambda ledger, account, _: ledger.hold(request("chatcmpl-9", account)),
    "settle": lambda ledger, _, hold: ledger.settle(hold, end(), usage()),
    "void": lambda ledger, _, hold: ledger.void(hold, end(), "x"),
    "expire": lambda ledger, _, __: ledger.expire_orphans(lambda _: RATE, charge_prompt=False),
    "add_key": lambda ledger, account, _: ledger.add_key(account.id, "k", bytes(32), "…", "operator"),
}


@pytest.mark.parametrize("fails_at", ["write", "flush"])
async def test_failed_store_takes_nothing_any_more(machine: Machine, fails_at: str) -> None:
    """The act under way is told, so is every later one of every kind; nothing later is written or changes a balance."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    await ledger.deposit(account.id, 1, "r", "operator")
    hold = await ledger.hold(request("chatcmpl-1", account))
    wrapper.flaky.fails_at = fails_at
    outcomes = await asyncio.gather(
        ledger.deposit(account.id, 5, "lost", "operator"),
        ledger.open_account("Bob", "operator"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
    assert not ledger.ready

    wrapper.flaky.fails_at = None
    before = (find_balance(ledger, account.id), len(ledger.accounts()), wrapper.flaky.writes, dict(hold.open_sendings))
    for act in ACTS.values():
        with pytest.raises(StoreUnavailableError, match="disk I/O error"):
            await act(ledger, account, hold)
    with pytest.raises(StoreUnavailableError):
        ledger.begin_attempt(hold, SECOND)
    with pytest.raises(StoreUnavailableError):
        ledger.end_attempt(hold, end())
    after = (find_balance(ledger, account.id), len(ledger.accounts()), wrapper.flaky.writes, dict(hold.open_sendings))
    assert after == before


@pytest.mark.parametrize(("fails_at", "kept"), [("write", False), ("flush", True)])
async def test_store_that_failed_opens_again_consistent(machine: Machine, fails_at: str, kept: bool) -> None:
    """After a failure the next start finds all that was acknowledged, and the last batch whole or not at all."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    wrapper.flaky.fails_at = fails_at
    outcomes = await asyncio.gather(
        ledger.settle(hold, end(), usage()), ledger.deposit(account.id, 5, "r", "operator"), return_exceptions=True
    )
    assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)

    ledger = await machine.restart()
    report = await ledger.audit()
    assert (report.problems, report.open_holds, ledger.ready) == ([], not kept, True)
    assert find_balance(ledger, account.id) == ((USD - CHARGE + 5, 0) if kept else (USD - HOLD, HOLD))
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)) == (not kept)
    again = await ledger.deposit(account.id, 5, "r", "operator")
    assert again.replayed == kept
    assert (await ledger.audit()).problems == []


async def test_failure_of_one_batch_fails_those_that_wait_behind_it(machine: Machine) -> None:
    """Acts that were taken while the failing commit was under way are told too."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    wrapper.flaky.fails_at = "flush"
    first = asyncio.create_task(ledger.deposit(account.id, 1, None, "operator"))
    for _ in range(2):
        await asyncio.sleep(0)
    second = asyncio.create_task(ledger.deposit(account.id, 1, None, "operator"))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2


async def test_replayed_deposit_is_not_told_before_the_first_is_durable(machine: Machine) -> None:
    """Who asks again while the disk is waited for learns what becomes of the first deposit, also when it fails."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    wrapper.flaky.fails_at = "flush"
    acts = (ledger.deposit(account.id, 5, "r", "operator") for _ in range(2))
    outcomes = await asyncio.gather(*acts, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2


async def test_owner_that_was_presumed_dead_cannot_settle(machine: Machine) -> None:
    """Once a later epoch has begun, the earlier one's settlement is refused, and so is all it does after that."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    machine.store.fence()
    with pytest.raises(StoreUnavailableError, match="FencedError"):
        await ledger.settle(hold, end(), usage())
    assert not ledger.ready
    with pytest.raises(StoreUnavailableError):
        await ledger.deposit(account.id, 1, None, "operator")

    successor = await machine.restart()
    assert find_balance(successor, account.id) == (USD - HOLD, HOLD)
    assert len(await successor.expire_orphans(lambda _: RATE, charge_prompt=False)) == 1
    assert find_balance(successor, account.id) == (USD, 0)
    assert (await successor.audit()).problems == []


@pytest.mark.parametrize("act", ["settle", "void", "hold"])
async def test_owner_that_comes_back_cannot_change_what_its_successor_did(machine: Machine, act: str) -> None:
    """A successor expires its holds and serves on; what the earlier owner then tries is refused, without a trace."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    successor = await machine.succeed()
    assert len(await successor.expire_orphans(lambda _: RATE, charge_prompt=False)) == 1
    await serve(successor, account, "chatcmpl-2")
    with pytest.raises(StoreUnavailableError, match="FencedError"):
        await ACTS[act](ledger, account, hold)
    assert (ledger.ready, successor.ready) == (False, True)

    await serve(successor, account, "chatcmpl-3")
    assert find_balance(successor, account.id) == (USD - 2 * CHARGE, 0)
    report = await successor.audit()
    assert (report.problems, report.open_holds) == ([], 0)
    assert [report.kinds[kind] for kind in ("hold", "settle", "void", "expire")] == [3, 2, 0, 1]


# --- the store itself, without the ledger's own rules before it -----------------------------------------------------


def make_books(machine: Machine, journal: Journal) -> tuple[Books, Account, Hold]:
    """Return books of their own on what a journal has, with its one account and open hold."""
    contents = journal.open()
    books = Books(WRITER, contents.epoch, machine.now_ns, machine.entropy)
    account = books.accounts[contents.accounts[0].id] = Account(*contents.accounts[0][:6])
    restore_sheet(books, SHEET)
    hold, _ = books.hold(request("chatcmpl-1", account))
    return books, account, hold


def commit(machine: Machine, journal: Journal, *entries: Written, rows: tuple[NewAccount, ...] = ()) -> None:
    """Write one batch and wait for it."""
    journal.write(entries, rows, machine.now_ns())
    journal.flush()


def end_twice(books: Books, _: Account, hold: Hold) -> tuple[Written, ...]:
    """End a hold that has ended in the store."""
    return (books.void(hold, end(), "again"),)


def end_nothing(books: Books, account: Account, _: Hold) -> tuple[Written, ...]:
    """End a hold that was never written."""
    return (books.void(books.hold(request("chatcmpl-9", account))[0], end(), "x"),)


def hold_twice(books: Books, account: Account, hold: Hold) -> tuple[Written, ...]:
    """Hold for an inference that has ended."""
    books.void(hold, end(), "x")
    return (books.hold(request("chatcmpl-1", account))[1],)


def end_twice_in_one_batch(books: Books, account: Account, _: Hold) -> tuple[Written, ...]:
    """Write a hold and two endings at once."""
    hold, written = books.hold(request("chatcmpl-9", account))
    first = books.void(hold, end(), "x")
    books.holds["chatcmpl-9"] = hold
    return (written, first, books.void(hold, end(), "x"))


def repeat_sequence(books: Books, account: Account, _: Hold) -> tuple[Written, ...]:
    """Number an account's entry as one that is there."""
    account.sequence = 1
    return (books.note(account.id, "x", "operator"),)


def repeat_reference(books: Books, account: Account, _: Hold) -> tuple[Written, ...]:
    """Book a reference that is booked."""
    written = books.deposit(account.id, 1, "r", "operator")[1]
    assert written is not None
    return (written,)


@pytest.mark.parametrize(
    "forge", [end_twice, end_nothing, hold_twice, end_twice_in_one_batch, repeat_sequence, repeat_reference]
)
async def test_store_itself_refuses_what_must_be_once(
    machine: Machine, forge: Callable[[Books, Account, Hold], tuple[Written, ...]]
) -> None:
    """The store refuses a second ending, hold, number or reference, whoever asks; nothing of its batch is kept."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.deposit(account.id, 1, "r", "operator")
    await serve(ledger, account, "chatcmpl-1")
    await machine.stop()
    journal = machine.store.journal()
    books, own, hold = make_books(machine, journal)
    innocent = books.note(None, "innocent", "operator")
    with pytest.raises(StoreUnavailableError):
        commit(machine, journal, innocent, *forge(books, own, hold))
    with pytest.raises(StoreUnavailableError):  # and it is over with this journal
        commit(machine, journal, books.note(None, "later", "operator"))
    journal.close()

    report = await (await machine.start()).audit()
    assert (report.problems, report.kinds["note"], report.kinds["hold"]) == ([], 1, 1)


async def test_store_refuses_batches_of_an_epoch_that_is_over(machine: Machine) -> None:
    """A journal that was fenced takes no batch, and says why."""
    ledger = await machine.start()
    await fund(ledger)
    await machine.stop()
    journal = machine.store.journal()
    books, _, _ = make_books(machine, journal)
    machine.store.fence()
    with pytest.raises(FencedError):
        commit(machine, journal, books.note(None, "late", "operator"))
    journal.close()


async def test_defect_in_an_act_does_not_stop_the_ledger(machine: Machine) -> None:
    """An act that breaks an invariant is refused before anything is written; the ledger serves on."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    for bad in (end(bill=-1), end(SECOND)):
        with pytest.raises(InvariantBrokenError):
            await ledger.settle(hold, bad, usage())
    with pytest.raises(InvariantBrokenError):
        await ledger.publish(SHEET, "operator")

    assert ledger.ready
    await ledger.settle(hold, end(), usage())
    assert find_balance(ledger, account.id) == (USD - CHARGE, 0)
    assert ledger.sheet.prices.keys() == {MODEL}

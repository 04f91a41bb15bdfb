"""What every ledger does: its verbs, and what is left of them after a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.errors import Code, InvariantBrokenError, Refusal, StoreUnavailableError
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.pricing import Cost, Price, revised
from tests.contract.world import (
    FIRST,
    HOLD,
    MODEL,
    RATE,
    SECOND,
    SHEET,
    USD,
    Machine,
    end,
    find_balance,
    fund,
    request,
    serve,
    turn_until,
    usage,
)

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Hold

CHARGE = 12_108


async def test_new_store_is_ready_and_empty(machine: Machine) -> None:
    """A fresh store takes writes and has no accounts; all that is in it is the price sheet."""
    ledger = await machine.start()
    report = await ledger.audit()

    assert (ledger.ready, ledger.accounts(), ledger.keys()) == (True, [], [])
    assert (report.problems, report.batches, report.entries) == ([], 1, 1)


async def test_accounts_are_listed_oldest_first(machine: Machine) -> None:
    """Accounts keep their names and their order over a restart; one that is not there is told."""
    ledger = await machine.start()
    opened = [await ledger.open_account(name, "operator") for name in ("Zoe", "Ann", "Bob")]
    async for here in machine.now_and_restarted(ledger):
        assert [account.name for account in here.accounts()] == ["Zoe", "Ann", "Bob"]
        assert [account.id for account in here.accounts()] == [account.id for account in opened]
        with pytest.raises(UnknownAccountError):
            here.account("acct_none")
        with pytest.raises(UnknownAccountError):
            await here.deposit("acct_none", 1, None, "operator")
        with pytest.raises(UnknownAccountError):
            await here.hold(request("chatcmpl-1", "acct_none"))


async def test_call_is_held_and_settled(machine: Machine) -> None:
    """A hold moves money aside, a settlement charges and frees the rest, and both outlive a restart."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    assert find_balance(ledger, account.id) == (USD - HOLD, HOLD)

    settlement = await ledger.settle(hold, end(bill=70), usage())
    assert settlement.cost == Cost(11_007, 1_101)
    async for here in machine.now_and_restarted(ledger):
        assert find_balance(here, account.id) == (USD - CHARGE, 0)
        report = await here.audit()
        assert report.problems == []
        assert report.totals["NGONKA", "cost/paid"] == 70


async def test_correction_outlives_a_restart(machine: Machine) -> None:
    """A correction changes a balance for good, also to below zero; one of nothing is refused."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.correct(account.id, -2 * USD, "chargeback", "grace")
    with pytest.raises(Refusal, match="other than 0"):
        await ledger.correct(account.id, 0, "nothing", "grace")
    with pytest.raises(UnknownAccountError):
        await ledger.correct("acct_none", 1, "who", "grace")
    async for here in machine.now_and_restarted(ledger):
        assert find_balance(here, account.id) == (-USD, 0)
        report = await here.audit()
        assert report.problems == []
        assert report.totals["USD", "corrections"] == 2 * USD


async def test_voided_call_costs_nothing(machine: Machine) -> None:
    """A void gives all of the hold back."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.void(await ledger.hold(request("chatcmpl-1", account)), end(bill=9), "failed")
    async for here in machine.now_and_restarted(ledger):
        assert find_balance(here, account.id) == (USD, 0)
        assert (await here.audit()).totals["NGONKA", "cost/unpaid"] == 9


async def test_retries_are_durable_with_what_follows_them(machine: Machine) -> None:
    """Sendings are not waited for, and are in the books before the ending that comes after them."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    ledger.end_attempt(hold, end(FIRST, 11))
    ledger.begin_attempt(hold, SECOND)
    await ledger.settle(hold, end(SECOND, 70), usage())
    report = await ledger.audit()

    assert (report.problems, report.kinds["attempt"]) == ([], 2)
    assert (report.totals["NGONKA", "cost/unpaid"], report.totals["NGONKA", "cost/paid"]) == (11, 70)


async def test_deposit_reference_is_booked_once_even_over_a_restart(machine: Machine) -> None:
    """A reference gives the first deposit again, at the same time and after a restart; another amount is refused."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    both = await asyncio.gather(*(ledger.deposit(account.id, USD, "invoice 7", "operator") for _ in range(2)))
    first, second = both
    assert (first.id, first.replayed, second.replayed) == (second.id, False, True)
    async for here in machine.now_and_restarted(ledger):
        again = await here.deposit(account.id, USD, "invoice 7", "operator")
        assert (again.id, again.picousd, again.replayed) == (first.id, USD, True)
        with pytest.raises(Refusal) as refused:
            await here.deposit(account.id, 2 * USD, "invoice 7", "operator")
        assert refused.value.code is Code.CONFLICT
        assert find_balance(here, account.id) == (USD, 0)


async def test_prices_are_in_force_at_once_and_after_a_restart(machine: Machine) -> None:
    """A published sheet counts for the next hold, and is the one that a restart finds; open holds keep theirs."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.hold(request("chatcmpl-1", account))
    sheet = revised(SHEET, {MODEL: Price(1, 1), "new/model": Price(0, 0, free=True)}, fee_ppm=0)
    await ledger.publish(sheet, "operator")
    assert (await ledger.hold(request("chatcmpl-2", account))).cost == Cost(1100, 0)

    published_ns = ledger.sheet_ns
    ledger = await machine.restart()
    assert (ledger.sheet, ledger.sheet_ns) == (sheet, published_ns)
    assert published_ns > 0
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)) == 2
    report = await ledger.audit()
    assert report.problems == []
    assert report.totals["USD", "income/base"] == 334 * 100 + 7 + 334


async def test_orphans_are_given_back_by_default(machine: Machine) -> None:
    """A hold that a process left open is voided at the next start; what its open sendings may have cost is told."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    ledger.end_attempt(hold, end(FIRST, 11))
    ledger.begin_attempt(hold, SECOND)
    await serve(ledger, account, "chatcmpl-2")

    ledger = await machine.restart()
    assert find_balance(ledger, account.id) == (USD - CHARGE - HOLD, HOLD)
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)) == 1
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)) == 0
    async for here in machine.now_and_restarted(ledger):
        assert find_balance(here, account.id) == (USD - CHARGE, 0)
        report = await here.audit()
        assert (report.problems, report.open_holds) == ([], 0)
        assert report.totals["NGONKA", "cost/unpaid"] == 11 + 1000 + 1000 + 100
        assert report.lost_picousd == {MODEL: HOLD}


async def test_orphans_can_be_charged_their_prompt(machine: Machine) -> None:
    """By setting an orphan is charged a third of its prompt's bound, marked as charged after a crash."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.hold(request("chatcmpl-1", account))

    ledger = await machine.restart()
    assert len(await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)) == 1
    assert find_balance(ledger, account.id) == (USD - 33_407 - 3_341, 0)
    assert (await ledger.audit()).problems == []


async def test_only_holds_without_an_owner_are_orphans(machine: Machine) -> None:
    """A hold whose call is under way is never expired, one that nobody owns is, also within one process's life."""
    ledger = await machine.start()
    account = await fund(ledger)
    owned = await ledger.hold(request("chatcmpl-1", account))
    lost = await ledger.hold(request("chatcmpl-2", account))

    assert await ledger.expire_orphans(lambda _: RATE, charge_prompt=False, owned={"chatcmpl-1"}) == ["chatcmpl-2"]
    assert find_balance(ledger, account.id) == (USD - HOLD, HOLD)
    with pytest.raises(InvariantBrokenError):
        await ledger.settle(lost, end(), usage())
    await ledger.settle(owned, end(), usage())
    assert (await ledger.audit()).problems == []


@pytest.mark.parametrize("wait", [True, False])
async def test_parallel_holds_never_oversell(machine: Machine, wait: bool) -> None:
    """Of 200 holds at once on a balance that pays for 7, exactly 7 are taken; the others are told that it is held."""
    ledger = await machine.start(wait=wait)
    account = await fund(ledger, 7 * HOLD + 5)
    outcomes = await asyncio.gather(
        *(ledger.hold(request(f"chatcmpl-{number}", account)) for number in range(200)), return_exceptions=True
    )
    holds: list[Hold] = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]

    assert (len(holds), len(refusals)) == (7, 193)
    assert {refusal.code for refusal in refusals} == {Code.BALANCE_HELD}
    assert find_balance(ledger, account.id) == (5, 7 * HOLD)
    await asyncio.gather(*(ledger.settle(hold, end(), usage(1000, 100)) for hold in holds))
    with pytest.raises(Refusal) as refused:
        await ledger.hold(request("chatcmpl-200", account))
    assert refused.value.code is Code.INSUFFICIENT_BALANCE
    assert (await ledger.audit()).problems == []


async def test_second_ending_is_refused(machine: Machine) -> None:
    """An inference ends once, whichever two endings meet, and the ledger goes on."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    outcomes = await asyncio.gather(
        ledger.settle(hold, end(), usage()),
        ledger.settle(hold, end(), usage()),
        ledger.void(hold, end(), "x"),
        return_exceptions=True,
    )

    assert [isinstance(outcome, InvariantBrokenError) for outcome in outcomes] == [False, True, True]
    assert find_balance(ledger, account.id) == (USD - CHARGE, 0)
    await serve(ledger, account, "chatcmpl-2")
    assert (await ledger.audit()).problems == []


async def test_cancelled_hold_leaves_no_money_held(machine: Machine) -> None:
    """Who leaves while the disk is waited for has nobody to end the hold, so the ledger gives it back."""
    ledger = await machine.start()
    account = await fund(ledger)
    task = asyncio.create_task(ledger.hold(request("chatcmpl-1", account)))
    await turn_until(lambda: find_balance(ledger, account.id)[1])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert find_balance(ledger, account.id) == (USD, 0)
    ledger = await machine.restart()
    assert find_balance(ledger, account.id) == (USD, 0)
    assert (await ledger.audit()).kinds["void"] == 1


async def test_cancelled_settlement_is_still_durable(machine: Machine) -> None:
    """Who leaves while the disk is waited for is charged all the same, once."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    task = asyncio.create_task(ledger.settle(hold, end(), usage()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    ledger = await machine.restart()
    assert find_balance(ledger, account.id) == (USD - CHARGE, 0)
    assert (await ledger.audit()).problems == []


async def test_audit_beside_commits_is_clean(machine: Machine) -> None:
    """An audit sees a moment of the books, whatever is committed meanwhile."""
    ledger = await machine.start()
    account = await fund(ledger)

    async def call(number: int) -> None:
        await serve(ledger, account, f"chatcmpl-{number}")

    for begin in range(0, 100, 20):
        auditing = asyncio.create_task(ledger.audit())
        await asyncio.gather(*(call(begin + number) for number in range(20)))
        assert (await auditing).problems == []
    assert (await ledger.audit()).kinds["settle"] == 100


async def test_every_start_is_a_new_epoch(machine: Machine) -> None:
    """Each start writes under an epoch of its own, and the batches go on counting."""
    for _ in range(3):
        ledger = await machine.start()
        await ledger.open_account("Ann", "operator")
        await machine.stop()
    contents = machine.store.journal()
    opened = contents.open()
    report = contents.audit()
    contents.close()

    assert opened.epoch == 4
    assert (report.problems, report.batches) == ([], 4)


async def test_closed_ledger_takes_nothing(machine: Machine) -> None:
    """After closing, acts are refused instead of waiting for ever, and closing again does no harm."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.close()
    await ledger.close()

    assert not ledger.ready
    with pytest.raises(StoreUnavailableError):
        await ledger.deposit(account.id, 1, None, "operator")
    assert find_balance(ledger, account.id) == (USD, 0)

"""What every ledger does with the idempotency keys of the operator: each act is booked once."""

from __future__ import annotations

import asyncio

import pytest

from tallygate.core.errors import Code, Refusal, StoreUnavailableError
from tests.contract.world import (
    CLAIM,
    OTHER_BODY,
    USD,
    Machine,
    Wrapper,
    find_balance,
    fund,
)


async def test_deposit_under_a_key_is_booked_once(machine: Machine) -> None:
    """The same key and act give the same entry, at the same time and after a restart; another act is refused."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    deposits = (ledger.deposit(account.id, USD, None, "operator", CLAIM) for _ in range(3))
    first, *others = await asyncio.gather(*deposits)
    assert (first.replayed, first.picousd) == (False, USD)
    async for here in machine.now_and_restarted(ledger):
        others.append(await here.deposit(account.id, USD, None, "operator", CLAIM))
        with pytest.raises(Refusal) as refused:
            await here.deposit(account.id, 2 * USD, None, "operator", OTHER_BODY)
        assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED
        assert find_balance(here, account.id) == (USD, 0)
        assert (await here.audit()).kinds["deposit"] == 1
    assert set(others) == {first._replace(replayed=True)}


async def test_correction_under_a_key_is_booked_once(machine: Machine) -> None:
    """A correction, also one that takes money, is repeated by nobody who asks again."""
    ledger = await machine.start()
    account = await fund(ledger)
    first = await ledger.correct(account.id, -2 * USD, "chargeback", "grace", CLAIM)
    async for here in machine.now_and_restarted(ledger):
        again = await here.correct(account.id, -2 * USD, "chargeback", "grace", CLAIM)
        assert again == first._replace(replayed=True)
        assert find_balance(here, account.id) == (-USD, 0)
        with pytest.raises(Refusal):
            await here.correct(account.id, USD, "chargeback", "grace", OTHER_BODY)


async def test_refused_deposit_claims_nothing(machine: Machine) -> None:
    """An act that the books refuse leaves its key free."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    with pytest.raises(Refusal):
        await ledger.deposit(account.id, 0, None, "operator", CLAIM)
    assert await ledger.find_claim(CLAIM) is None


async def test_key_and_reference_go_together(machine: Machine) -> None:
    """A reference that is booked is not booked again under a key; the key then stands for that deposit."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    first = await ledger.deposit(account.id, USD, "invoice 7", "operator")
    again = await ledger.deposit(account.id, USD, "invoice 7", "operator", CLAIM)
    assert again == first._replace(replayed=True)
    ledger = await machine.restart()
    assert await ledger.deposit(account.id, USD, "invoice 7", "operator", CLAIM) == again
    with pytest.raises(Refusal):
        await ledger.deposit(account.id, USD, "invoice 8", "operator", OTHER_BODY)
    assert find_balance(ledger, account.id) == (USD, 0)


async def test_failed_deposit_and_its_key_go_together(machine: Machine) -> None:
    """A deposit that the disk did not take has no key either: it is booked when it is asked for again."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await ledger.open_account("Ann", "operator")
    wrapper.flaky.fails_at = "write"
    with pytest.raises(StoreUnavailableError):
        await ledger.deposit(account.id, USD, None, "operator", CLAIM)
    ledger = await machine.restart()
    assert not (await ledger.deposit(account.id, USD, None, "operator", CLAIM)).replayed

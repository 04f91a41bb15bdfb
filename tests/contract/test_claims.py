"""What every ledger does with idempotency keys: one call under each, whatever happens to it, over restarts too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.errors import Code, Refusal, StoreUnavailableError
from tallygate.core.idempotency import Claim
from tests.contract.world import (
    CLAIM,
    HOLD,
    OTHER_BODY,
    RATE,
    SECOND,
    USD,
    Machine,
    Wrapper,
    end,
    find_balance,
    fund,
    meaning,
    request,
    turn_until,
    usage,
)

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account
    from tallygate.storage.embedded import EmbeddedLedger

CHARGE = 12_108
CRASH_CHARGE = 36_748
"""What a crash charges for a prompt of at most 1,000 tokens: 334 * 100 + 7, and 10 %, rounded."""


async def refusal(ledger: EmbeddedLedger, account: Account, inference: str, claim: Claim = CLAIM) -> Refusal:
    """Return why a call with a claim is not held."""
    before = find_balance(ledger, account.id)
    with pytest.raises(Refusal) as refused:
        await ledger.hold(request(inference, account, claim))
    assert find_balance(ledger, account.id) == before
    return refused.value


async def test_one_of_many_at_once_is_held(machine: Machine) -> None:
    """Of calls under one key at once, one is held and the others are told that it is under way; other keys are free."""
    ledger = await machine.start()
    account = await fund(ledger)
    holds = (ledger.hold(request(f"chatcmpl-{number}", account, CLAIM)) for number in range(9))
    outcomes = await asyncio.gather(*holds, return_exceptions=True)
    told = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]

    assert len(told) == 8
    assert {(refused.code, refused.inference) for refused in told} == {(Code.IDEMPOTENCY_IN_PROGRESS, "chatcmpl-0")}
    assert find_balance(ledger, account.id) == (USD - HOLD, HOLD)
    await ledger.hold(request("chatcmpl-9", account, Claim(b"other", b"r")))
    await ledger.hold(request("chatcmpl-10", account))
    assert find_balance(ledger, account.id) == (USD - 3 * HOLD, 3 * HOLD)


async def test_settled_call_keeps_its_key(machine: Machine) -> None:
    """After the charge the key stands for the inference and its cost, after a restart too; no second one is held."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    assert await meaning(ledger) == ("chatcmpl-1", None)
    await ledger.settle(hold, end(), usage())
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here) == ("chatcmpl-1", CHARGE)
        refused = await refusal(here, here.account(account.id), "chatcmpl-2")
        assert (refused.code, refused.inference) == (Code.IDEMPOTENCY_ALREADY_CHARGED, "chatcmpl-1")
        assert refused.metadata == {"inference_id": "chatcmpl-1", "total_cost_usd": "0.000000012108"}
        assert find_balance(here, account.id) == (USD - CHARGE, 0)


async def test_voided_call_gives_its_key_back(machine: Machine) -> None:
    """After a void the key is free, at once and after a restart, for another request too."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.void(await ledger.hold(request("chatcmpl-1", account, CLAIM)), end(), "failed")
    assert await meaning(ledger) is None
    await ledger.void(await ledger.hold(request("chatcmpl-2", account, OTHER_BODY)), end(), "failed")
    ledger = await machine.restart()
    assert await meaning(ledger) is None
    await ledger.settle(await ledger.hold(request("chatcmpl-3", account.id, CLAIM)), end(), usage())
    assert await meaning(ledger) == ("chatcmpl-3", CHARGE)


async def test_void_and_new_call_in_one_commit(machine: Machine) -> None:
    """A key that is freed and taken again while the disk is waited for stands for the later call."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    wrapper.flaky.gate.clear()
    void = asyncio.ensure_future(ledger.void(hold, end(), "failed"))
    await turn_until(lambda: not find_balance(ledger, account.id)[1])
    again = asyncio.ensure_future(ledger.hold(request("chatcmpl-2", account, CLAIM)))
    await turn_until(lambda: find_balance(ledger, account.id)[1])
    assert await meaning(ledger) == ("chatcmpl-2", None)
    wrapper.flaky.gate.set()
    await void
    await ledger.settle(await again, end(), usage())
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here) == ("chatcmpl-2", CHARGE)


async def test_refused_hold_claims_nothing(machine: Machine) -> None:
    """A call that the account cannot pay for leaves its key free."""
    ledger = await machine.start()
    account = await fund(ledger, HOLD - 1)
    assert (await refusal(ledger, account, "chatcmpl-1")).code is Code.INSUFFICIENT_BALANCE
    assert await meaning(ledger) is None
    await ledger.deposit(account.id, 1, None, "operator")
    await ledger.hold(request("chatcmpl-2", account, CLAIM))


async def test_key_comes_before_money(machine: Machine) -> None:
    """Who asks again is told of the first call, also when nothing is left on the account."""
    ledger = await machine.start()
    account = await fund(ledger, HOLD)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    assert (await refusal(ledger, account, "chatcmpl-2")).code is Code.IDEMPOTENCY_IN_PROGRESS
    await ledger.settle(hold, end(), usage(1000, 100))
    assert find_balance(ledger, account.id) == (0, 0)
    assert (await refusal(ledger, account, "chatcmpl-3")).code is Code.IDEMPOTENCY_ALREADY_CHARGED


async def test_other_request_under_the_same_key_is_refused(machine: Machine) -> None:
    """While a call is under way, and after it was charged, over a restart too, its key takes no other request."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    assert (await refusal(ledger, account, "chatcmpl-2", OTHER_BODY)).code is Code.IDEMPOTENCY_KEY_REUSED
    await ledger.settle(hold, end(), usage())
    async for here in machine.now_and_restarted(ledger):
        refused = await refusal(here, here.account(account.id), "chatcmpl-2", OTHER_BODY)
        assert refused.code is Code.IDEMPOTENCY_KEY_REUSED
        with pytest.raises(Refusal):
            await here.find_claim(OTHER_BODY)


async def test_owner_that_leaves_during_the_hold_frees_the_key(machine: Machine) -> None:
    """A hold that is cancelled while the disk is waited for is given back, and its key with it."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    wrapper.flaky.gate.clear()
    holding = asyncio.ensure_future(ledger.hold(request("chatcmpl-1", account, CLAIM)))
    await turn_until(lambda: find_balance(ledger, account.id)[1])
    holding.cancel()
    await turn_until(holding.done)
    wrapper.flaky.gate.set()
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here) is None
        assert find_balance(here, account.id) == (USD, 0)


@pytest.mark.parametrize(("charge_prompt", "stands"), [(False, None), (True, ("chatcmpl-1", CRASH_CHARGE))])
async def test_crash_between_hold_and_settle(
    machine: Machine, charge_prompt: bool, stands: tuple[str, int] | None
) -> None:
    """A call that died with its process keeps its key until its hold is ended by the rule: free, or charged."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.hold(request("chatcmpl-1", account, CLAIM))
    ledger = await machine.restart()
    assert await meaning(ledger) == ("chatcmpl-1", None)
    assert (await refusal(ledger, ledger.account(account.id), "chatcmpl-2")).code is Code.IDEMPOTENCY_IN_PROGRESS
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=charge_prompt)
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here) == stands
        paid = stands[1] if stands else 0
        assert find_balance(here, account.id) == (USD - paid, 0)


async def test_crash_after_all_sendings_had_failed_frees_the_key(machine: Machine) -> None:
    """A call of which nothing was under way when its process died is not charged, whatever the setting."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    ledger.end_attempt(hold, end())
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)
    assert await meaning(ledger) is None


async def test_owner_that_was_presumed_dead_can_neither_claim_nor_charge(machine: Machine) -> None:
    """Once a later epoch has begun, the earlier one's claims and endings are refused; its key goes by its hold."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    machine.store.fence()
    with pytest.raises(StoreUnavailableError, match="FencedError"):
        await ledger.hold(request("chatcmpl-2", account, Claim(b"late", b"r")))
    with pytest.raises(StoreUnavailableError):
        await ledger.settle(hold, end(), usage())
    with pytest.raises(StoreUnavailableError):
        await ledger.find_claim(CLAIM)

    successor = await machine.restart()
    assert await meaning(successor, Claim(b"late", b"r")) is None
    assert await meaning(successor) == ("chatcmpl-1", None)
    await successor.expire_orphans(lambda _: RATE, charge_prompt=False)
    assert await meaning(successor) is None


@pytest.mark.parametrize(("fails_at", "kept"), [("write", False), ("flush", True)])
async def test_claim_is_as_durable_as_its_hold(machine: Machine, fails_at: str, kept: bool) -> None:
    """When the store fails during a hold, the next start finds hold and claim, or neither."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    wrapper.flaky.fails_at = fails_at
    with pytest.raises(StoreUnavailableError):
        await ledger.hold(request("chatcmpl-1", account, CLAIM))
    ledger = await machine.restart()
    assert (await ledger.audit()).open_holds == kept
    assert await meaning(ledger) == (("chatcmpl-1", None) if kept else None)


@pytest.mark.parametrize(("claim", "waits"), [(None, False), (CLAIM, True)])
async def test_hold_with_a_key_is_always_waited_for(machine: Machine, claim: Claim | None, waits: bool) -> None:
    """Where holds are not waited for, one with a key is all the same: a key that a crash forgets is none."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper, wait=False)
    account = await fund(ledger)
    wrapper.flaky.gate.clear()
    writes = wrapper.flaky.writes
    holding = asyncio.ensure_future(ledger.hold(request("chatcmpl-1", account, claim)))
    await turn_until(lambda: wrapper.flaky.writes > writes)
    assert holding.done() != waits
    wrapper.flaky.gate.set()
    await holding


async def test_charge_is_not_told_before_it_is_durable(machine: Machine) -> None:
    """Who asks while the charge is on its way to the disk waits for it, and is not told of one that was lost."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    wrapper.flaky.gate.clear()
    settling = asyncio.ensure_future(ledger.settle(hold, end(), usage()))
    await turn_until(lambda: not find_balance(ledger, account.id)[1])
    asking = asyncio.ensure_future(ledger.find_claim(CLAIM))
    for _ in range(9):
        await asyncio.sleep(0)
    assert not asking.done()
    wrapper.flaky.fails_at = "flush"
    wrapper.flaky.gate.set()
    outcomes = await asyncio.gather(settling, asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2


async def test_retries_do_not_touch_the_key(machine: Machine) -> None:
    """A call that is sent again elsewhere is the same call under the same key."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account, CLAIM))
    ledger.end_attempt(hold, end())
    ledger.begin_attempt(hold, SECOND)
    assert await meaning(ledger) == ("chatcmpl-1", None)
    await ledger.settle(hold, end(SECOND), usage())
    assert await meaning(ledger) == ("chatcmpl-1", CHARGE)

"""What a ledger keeps for the operator's webhook: with the entry that caused it, until it is let go of."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tallygate.core.errors import Refusal, StoreUnavailableError
from tallygate.core.pricing import Price, revised
from tallygate.storage.outbox import Outbox
from tests.contract.world import (
    HOLD,
    MODEL,
    RATE,
    SHEET,
    USD,
    Flaky,
    Machine,
    end,
    fund,
    request,
    serve,
    turn_until,
    usage,
)

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account
    from tallygate.storage.embedded import EmbeddedLedger

LOW = "account.low_balance"
EMPTY = "account.empty"


@pytest.fixture(autouse=True)
def keeping(machine: Machine) -> None:
    """Have every ledger keep events for a webhook."""
    machine.make_outbox = lambda: Outbox(machine.entropy, low_balance_picousd=USD, keeps=True)


async def kept(ledger: EmbeddedLedger) -> list[tuple[str, str]]:
    """Return type and account of everything that waits for the webhook."""
    if not ledger._outbox.kept:
        return []
    bodies = [json.loads(event.body) for event in await ledger.events()]
    return [(body["type"], body["data"]["account"]) for body in bodies]


async def refuse(ledger: EmbeddedLedger, account: Account) -> None:
    """Ask for a hold that the account cannot pay."""
    with pytest.raises(Refusal):
        await ledger.hold(request("chatcmpl-refused", account)._replace(completion_tokens_max=10**11))


async def test_an_event_outlives_a_restart_until_it_is_forgotten(machine: Machine) -> None:
    """What a settlement tells is there when it returns, and after restarts, in order, until it is let go of."""
    ledger = await machine.start()
    accounts = [await fund(ledger) for _ in range(3)]
    for number, account in enumerate(accounts):
        await serve(ledger, account, f"chatcmpl-{number}")
    told = [(LOW, account.id) for account in accounts]
    async for here in machine.now_and_restarted(ledger):
        assert await kept(here) == told
        ledger = here

    first, second, _ = await ledger.events()
    ledger.forget_event(second.id)
    ledger.forget_event("evt_unknown")
    async for here in machine.now_and_restarted(ledger):
        assert await kept(here) == [told[0], told[2]]
        assert (await here.events())[0] == first
        assert (await here.audit()).problems == []


async def test_whoever_waits_is_woken_by_the_next_event(machine: Machine) -> None:
    """Asking for events waits until there is one."""
    ledger = await machine.start()
    account = await fund(ledger)
    waiting = asyncio.create_task(ledger.events())
    await asyncio.sleep(0)
    assert not waiting.done()
    await serve(ledger, account, "chatcmpl-1")

    (event,) = await waiting
    assert json.loads(event.body)["data"]["inference"] == "chatcmpl-1"


async def test_every_act_that_lowers_a_balance_tells(machine: Machine) -> None:
    """A correction and a charge after a crash tell as a settlement does; a void and a deposit tell nothing."""
    ledger = await machine.start()
    corrected, crashed, voided = [await fund(ledger) for _ in range(3)]
    await ledger.correct(corrected.id, -1, "slip", "operator")
    await ledger.void(await ledger.hold(request("chatcmpl-1", voided)), end(), "failed")
    await ledger.hold(request("chatcmpl-2", crashed))
    ledger = await machine.restart()
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)

    assert await kept(ledger) == [(LOW, corrected.id), (LOW, crashed.id)]


async def test_an_account_is_empty_once_until_money_comes_in(machine: Machine) -> None:
    """The first refused call tells, the next do not; after a deposit or a credit the next refusal tells again."""
    ledger = await machine.start()
    account, other = await fund(ledger, 5), await fund(ledger, 5)
    for _ in range(3):
        await refuse(ledger, account)
    await refuse(ledger, other)
    assert await kept(ledger) == [(EMPTY, account.id), (EMPTY, other.id)]

    await ledger.deposit(account.id, 1, None, "operator")
    await refuse(ledger, account)
    await ledger.correct(account.id, -1, "slip", "operator")
    await refuse(ledger, account)
    await ledger.correct(account.id, 1, "gift", "operator")
    await refuse(ledger, account)
    async for here in machine.now_and_restarted(ledger):
        assert (await kept(here)).count((EMPTY, account.id)) == 3


async def test_money_that_is_held_is_not_gone(machine: Machine) -> None:
    """A call that has to wait for others tells nothing."""
    ledger = await machine.start()
    account = await fund(ledger, HOLD + 5)
    await ledger.hold(request("chatcmpl-1", account))
    with pytest.raises(Refusal):
        await ledger.hold(request("chatcmpl-2", account))

    assert await kept(ledger) == []


async def test_what_is_only_held_back_is_not_an_end_of_money(machine: Machine) -> None:
    """A settlement of a free model, which moves nothing, crosses no threshold."""
    ledger = await machine.start()
    await ledger.publish(revised(SHEET, {MODEL: Price(0, 0, free=True)}), "operator")
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")

    assert await kept(ledger) == []


async def test_an_overrun_is_told_with_its_settlement(machine: Machine) -> None:
    """An overrun and the crossing that came with it are two events of one commit."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.settle(await ledger.hold(request("chatcmpl-1", account)), end(), usage(1000, 200))

    async for here in machine.now_and_restarted(ledger):
        assert sorted(await kept(here)) == [(LOW, account.id), ("account.overrun", account.id)]


async def test_without_a_webhook_events_are_only_logged(machine: Machine) -> None:
    """Where nothing is kept, the log tells of the event, and the store has no row."""
    machine.make_outbox = lambda: Outbox(machine.entropy, low_balance_picousd=USD)
    ledger = await machine.start()
    account = await fund(ledger)
    with capture_logs() as logs:
        await serve(ledger, account, "chatcmpl-1")
        await refuse(ledger, account)
        await asyncio.sleep(0)
    assert [(line["event"], line["account"]) for line in logs] == [(LOW, account.id), (EMPTY, account.id)]

    async for here in machine.now_and_restarted(ledger):
        assert await kept(here) == []


@pytest.mark.parametrize("fails_at", ["write", "flush"])
async def test_an_event_is_kept_exactly_if_its_entry_is(machine: Machine, fails_at: str) -> None:
    """When the store fails, nobody is shown the event; the next start finds it exactly if it finds the entry."""
    flaky: list[Flaky] = []

    def wrap(journal: object) -> Flaky:
        flaky.append(Flaky(journal))  # type: ignore[arg-type]
        return flaky[0]

    ledger = await machine.start(wrap)
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    flaky[0].fails_at = fails_at
    with pytest.raises(StoreUnavailableError):
        await ledger.settle(hold, end(), usage())
    with pytest.raises(StoreUnavailableError):
        await ledger.events()

    ledger = await machine.restart()
    settled = (await ledger.audit()).kinds.get("settle", 0)
    assert settled == (fails_at == "flush")
    assert await kept(ledger) == [(LOW, account.id)] * settled


async def test_no_event_is_shown_before_it_is_durable(machine: Machine) -> None:
    """Between an act and its commit, asking for events waits."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    settling = asyncio.create_task(ledger.settle(hold, end(), usage()))
    await turn_until(lambda: ledger._outbox.kept)
    durable = ledger._queue.durable()
    asking = asyncio.create_task(ledger.events())
    await asyncio.wait([asking])

    assert durable.done()
    await settling

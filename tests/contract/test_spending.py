"""What keys have spent, in every store: kept with the charge, found again after a crash, compared with the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import Code, Refusal
from tallygate.core.limits import UNLIMITED, Limits
from tests.contract.world import HOLD, RATE, Machine, end, fund, request, serve, usage

if TYPE_CHECKING:
    from tallygate.core.ledger.records import Account
    from tallygate.storage.embedded import EmbeddedLedger

CHARGE = 12_108
"""What `usage` costs."""


def spent(ledger: EmbeddedLedger, account: Account | str) -> list[list[tuple[int, int]]]:
    """Return what is spent and held of day, month and all time, of the key and of its account."""
    owner = account if isinstance(account, str) else account.id
    budgets = ledger.budgets(owner, "key_1", (UNLIMITED, UNLIMITED))
    return [[(budget.spent, budget.held) for budget in own] for own in budgets]


async def test_what_was_spent_is_found_again(machine: Machine) -> None:
    """Sums of charges and holds are the same after a start; those of a process that vanished, too."""
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    await ledger.void(await ledger.hold(request("chatcmpl-2", account)), end(), "failed")
    await ledger.hold(request("chatcmpl-3", account))

    due = [[(CHARGE, HOLD)] * 3] * 2
    assert spent(ledger, account) == due
    ledger = await machine.succeed()
    assert spent(ledger, account.id) == due
    await ledger.expire_orphans(lambda _: RATE, charge_prompt=True)
    charged = ledger.budgets(account.id, "key_1", (UNLIMITED, UNLIMITED))[0][2].spent - CHARGE
    assert 0 < charged < HOLD
    ledger = await machine.restart()
    assert spent(ledger, account.id) == [[(CHARGE + charged, 0)] * 3] * 2
    assert (await ledger.audit()).clean


async def test_a_charge_counts_on_the_day_of_its_hold(machine: Machine) -> None:
    """A call that is charged after midnight counts on the day before; the new day begins with nothing."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    machine.skip(DAY_NS)
    await ledger.settle(hold, end(), usage())

    assert spent(ledger, account)[0][0] == (0, 0)
    assert spent(ledger, account)[0][2] == (CHARGE, 0)
    ledger = await machine.restart()
    assert spent(ledger, account.id)[0][0] == (0, 0)
    assert (await ledger.audit()).clean


@pytest.mark.parametrize("of_account", [False, True])
async def test_a_hold_is_refused_beyond_a_limit_and_taken_up_to_it(machine: Machine, of_account: bool) -> None:
    """A hold that just fits beside what is spent and held is taken; one pico-dollar less, and nothing was moved."""
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    await ledger.hold(request("chatcmpl-2", account))
    for missing in (1, 0):
        own = Limits(spend_month_picousd=CHARGE + 2 * HOLD - missing)
        wanted = request("chatcmpl-3", account)._replace(limits=(UNLIMITED, own) if of_account else (own, UNLIMITED))
        if missing:
            before = account.available
            with pytest.raises(Refusal) as refused:
                await ledger.hold(wanted)
            assert refused.value.code is Code.SPEND_LIMIT_EXCEEDED
            assert account.available == before
        else:
            await ledger.hold(wanted)

"""Inferences of several parts, on every store: durable together, ended together, read back together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.records import Sending, SendingEnd
from tallygate.core.pricing import UpstreamRate
from tests.contract.world import FIRST, HOLD, USD, Machine, end, find_balance, fund, request, turn_until, usage

if TYPE_CHECKING:
    from tallygate.core.ledger.records import HoldRequest

OTHERS = (Sending(1, 0, "nodes", "gonka1b"), Sending(2, 0, "bearer", None))
ENDS = (SendingEnd(FIRST, 10, 5, 15, "a"), SendingEnd(OTHERS[0], 10, 5, 15, "b"))


def request_parts(account: str, inference: str = "chatcmpl-1") -> HoldRequest:
    """Return a request of three parts."""
    return request(inference, account)._replace(others=OTHERS)


async def test_parts_are_settled_in_one_act(machine: Machine) -> None:
    """Three parts have one hold and one charge, and the books with them are clean, now and after a start."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request_parts(account.id))
    assert find_balance(ledger, account.id) == (USD - HOLD, HOLD)
    cost, _ = await ledger.settle(hold, SendingEnd(OTHERS[1], 30, 10, 40, "c"), usage(), ENDS)

    async for now in machine.now_and_restarted(ledger):
        assert find_balance(now, account.id) == (USD - cost.total, 0)
        report = await now.audit()
        assert report.problems == []
        assert report.kinds["attempt"] == 4
        assert (report.totals[e.NGONKA, e.COST_PAID], report.totals[e.NGONKA, e.COST_UNPAID]) == (70, 0)


async def test_parts_are_voided_in_one_act(machine: Machine) -> None:
    """What is given back is given back once, with the bills of all three in the operator's book."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request_parts(account.id))
    await ledger.void(hold, end(OTHERS[1], 9), "failed", ENDS)

    assert find_balance(ledger, account.id) == (USD, 0)
    report = await ledger.audit()
    assert report.problems == []
    assert report.totals[e.NGONKA, e.COST_UNPAID] == 39


async def test_a_start_ends_all_parts_at_once(machine: Machine) -> None:
    """A process that dies with three parts open leaves one hold; the next one ends it, and what it may have cost."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.hold(request_parts(account.id))
    ledger = await machine.restart()
    rate = UpstreamRate(1, 1, 1000)
    assert await ledger.expire_orphans(lambda _: rate, charge_prompt=False) == ["chatcmpl-1"]

    assert find_balance(ledger, account.id) == (USD, 0)
    report = await ledger.audit()
    assert report.problems == []
    assert report.lost_picousd.total() == HOLD
    assert report.lost_ngonka.total() == 2 * 1100 + 3 * 1000


async def test_who_leaves_before_the_hold_is_durable_leaves_no_part_open(machine: Machine) -> None:
    """A hold that nobody waits for any more is given back with all of its parts."""
    ledger = await machine.start()
    account = await fund(ledger)
    task = asyncio.create_task(ledger.hold(request_parts(account.id)))
    await turn_until(lambda: ledger.account(account.id).held)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert find_balance(ledger, account.id) == (USD, 0)
    ledger = await machine.restart()
    report = await ledger.audit()
    assert (report.problems, report.open_holds, report.kinds["void"], report.kinds["attempt"]) == ([], 0, 1, 4)

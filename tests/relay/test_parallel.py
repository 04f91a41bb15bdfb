"""Many calls at once on one balance: exactly as many are served as it pays for."""

import asyncio
from collections import Counter

import pytest

from tallygate.core.ledger import entry as e
from tests.relay.world import World, charged, open_world

CALLS = 200
PAID = 7


async def hold_picousd() -> int:
    """Return what one of these calls holds."""
    async with open_world() as world:
        await world.chat(stream=True)
        (hold,) = world.entries(e.HOLD)
        return sum(amount for _, name, amount in hold.postings if name.endswith("/held"))


async def make_storm(world: World, served: int) -> Counter[tuple[int, str]]:
    """Make all calls at once; let none end before all others have been refused, and count what came back."""
    world.order("barrier", count=1000, times=None)
    callers = await asyncio.gather(*(world.connect() for _ in range(CALLS)))
    await asyncio.gather(*(world.send(caller, stream=True) for caller in callers))
    waiting = {asyncio.ensure_future(caller.answer()) for caller in callers}
    refused = set()
    while len(waiting) > served:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    await world.arrival(served)
    assert world.account.available >= 0
    world.clear_faults()
    answers = [task.result() for task in refused] + await asyncio.gather(*waiting)
    return Counter((answer.status, "" if answer.status == 200 else answer.code) for answer in answers)


@pytest.mark.parametrize("spare_picousd", [0, 1, -1])
async def test_a_balance_pays_for_what_it_pays_for(spare_picousd: int) -> None:
    """Of 200 calls at once exactly those are served that the balance covers, to the pico-dollar; the rest wait."""
    one = await hold_picousd()
    served = PAID - (spare_picousd < 0)
    async with open_world(picousd=one * PAID + spare_picousd) as world:
        outcome = await make_storm(world, served)

        assert outcome == {(200, ""): served, (429, "balance_held"): CALLS - served}
        assert len(world.entries(e.SETTLE)) == len(world.entries(e.HOLD)) == served
        assert world.upstream_calls == served
        assert world.account.available == world.picousd - sum(map(charged, world.entries(e.SETTLE)))


async def test_what_is_spent_is_spent() -> None:
    """Calls one after the other are served until the balance does not cover one more; then each is a 402."""
    one = await hold_picousd()
    async with open_world(picousd=one + one // 2) as world:
        statuses = [(await world.chat()).status for _ in range(12)]

        served = statuses.count(200)
        assert statuses == [200] * served + [402] * (12 - served)
        assert 0 < served < 12
        assert 0 <= world.account.available < one


async def test_a_storm_leaves_nothing_behind() -> None:
    """After a storm of calls with failures and leavings, deposits minus charges is what is available."""
    async with open_world("gonka", "openai") as world:
        for fault in ("503", "refuse", "cut", "error_event", "500", "429"):
            world.order(fault, times=3)
        callers = [await world.send(stream=index % 2 == 0) for index in range(60)]
        for caller in callers[::5]:
            caller.leave()
        kept = [caller for index, caller in enumerate(callers) if index % 5]
        answers = await asyncio.gather(*(caller.answer() for caller in kept))

        assert {answer.status for answer in answers} <= {200, 502, 503}
        await world.settle_down()
        ended = len(world.entries(*e.ENDINGS))
        assert ended == len(world.entries(e.HOLD)) <= 60

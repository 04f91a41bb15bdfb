"""Crowds in front of real processes: a balance pays for what it covers, whoever leaves pays what the network bills."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger.entry import Flag
from tests.storm.calls import Plan, make_call
from tests.storm.reconciliation import reconcile
from tests.storm.witness import Books, charge_of, price
from tests.storm.world import BEARER, SIGNED, Key, Setting, World, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.storm.calls import Told
    from tests.storm.world import Gateway

FRAMES = 7  # as the caller counts: the role, five tokens, and the finish with the usage
CROWD = 200


async def find_hold_picousd(world: World, gateway: Gateway, key: Key) -> int:
    """Return what one usual call sets aside."""
    await gateway.pay_in(key.account, 10**9)
    await make_call(gateway.port, key.secret, Plan.usual())
    (hold,) = (entry for entry in Books.read(world.store).entries if entry.kind == "hold")
    return sum(amount for _, name, amount in hold.postings if name.endswith("/held"))


async def ask_all_at_once(world: World, gateway: Gateway, key: Key, served: int) -> list[Told]:
    """Make all calls while the network answers none before so many are held and all others refused."""
    await world.devnet.order_all("POST", {"fault": "barrier", "count": 10**6, "times": None})
    waiting = {asyncio.ensure_future(make_call(gateway.port, key.secret, Plan.usual())) for _ in range(CROWD)}
    refused: set[asyncio.Task[Told]] = set()
    while len(waiting) > served:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused |= done
    await world.devnet.order_all("DELETE")
    return [task.result() for task in refused] + list(await asyncio.gather(*waiting))


@pytest.mark.parametrize("spare_picousd", [0, -1])
async def test_a_balance_pays_for_exactly_so_many(tmp_path: Path, spare_picousd: int) -> None:
    """Of 200 calls at once just those are served that the balance covers, and it is exact afterwards."""
    async with World(tmp_path) as world:
        gateway = await world.start(accounts=3)
        tester, customer, poor = world.keys
        one = await find_hold_picousd(world, gateway, tester)
        paid_in = 7 * one + spare_picousd
        served = 7 if spare_picousd == 0 else 6
        await gateway.pay_in(customer.account, paid_in)
        await gateway.pay_in(poor.account, one - 1)
        told = await ask_all_at_once(world, gateway, customer, served)
        assert Counter(each.ending for each in told) == {
            "streamed to the end": served,
            "429 balance_held": CROWD - served,
        }

        refused = await asyncio.gather(*(make_call(gateway.port, poor.secret, Plan.usual()) for _ in range(CROWD)))
        assert {each.ending for each in refused} == {"402 insufficient_balance"}
        await world.stop(gateway)
        books = await world.proven_books()
        charges = [each.picousd for each in told if each.picousd is not None]
        assert len(charges) == served
        assert books.balance(customer.account) == (paid_in - sum(charges), 0)
        assert books.balance(poor.account) == (one - 1, 0)
        assert sum(entry.kind == "hold" for entry in books.entries) == served + 1
        assert min(entry.available_after or 0 for entry in books.entries if entry.account is not None) == 0


@pytest.mark.parametrize("upstream", [SIGNED, BEARER], ids=["signed", "bearer"])
async def test_whoever_leaves_pays_what_the_network_bills(tmp_path: Path, upstream: str) -> None:
    """Of 1,000 who read some frames and leave, each pays for the tokens that the network bills; the sums are one."""
    async with World(tmp_path, Setting(upstreams=(upstream,), pace_ms=0)) as world:
        gateway = await world.start(accounts=1)
        (key,) = world.keys
        await gateway.pay_in(key.account, 10**12)
        told: list[Told] = []
        for _ in range(5):  # as many at a time as one upstream takes
            places = [(stream, leave) for stream in (True, False) for leave in range(-1, FRAMES + 1)]
            plans = [Plan.usual(stream=stream, leave_after=leave) for stream, leave in places]
            told += await asyncio.gather(
                *(make_call(gateway.port, key.secret, plans[index % len(plans)]) for index in range(CROWD))
            )
        await eventually(lambda: not Books.read(world.store).open_holds)
        await world.stop(gateway)
        books = await world.proven_books()
        inferences = await world.devnet.finished()
        found = reconcile(books.entries, inferences)
        settled = [entry for entry in books.entries if entry.kind == "settle"]

        assert found.violations == []
        assert found.booked == found.billed > 0
        assert set(found.differences.values()) == {0}
        by_tokens = Counter(charge_of(entry) for entry in settled)
        assert by_tokens == Counter(price(one["prompt_tokens"], one["completion_tokens"]) for one in inferences)
        assert len(told) == 1000
        assert sum(bool(entry.flags & Flag.DRAINED) for entry in settled) > 0
        assert {entry.kind for entry in books.entries if entry.inference} <= {"hold", "settle", "void"}
        assert books.balance(key.account) == (10**12 - sum(map(charge_of, settled)), 0)


async def test_whoever_is_cut_pays_for_what_had_come(tmp_path: Path) -> None:
    """Where nothing is drained, a call costs at most what the network bills, and each difference is a cut one's."""
    async with World(tmp_path, Setting(bills_to_end=False)) as world:
        gateway = await world.start(accounts=1)
        (key,) = world.keys
        await gateway.pay_in(key.account, 10**12)
        plans = [Plan.usual(leave_after=leave) for leave in range(FRAMES + 1)] * 5
        await asyncio.gather(*(make_call(gateway.port, key.secret, each) for each in plans))
        await eventually(lambda: not Books.read(world.store).open_holds)
        await world.stop(gateway)
        books = await world.proven_books()
        found = reconcile(books.entries, await world.devnet.finished())

        assert found.violations == []
        assert found.differences["served to the end"] == 0
        cut = [entry for entry in books.entries if entry.kind == "settle" and entry.flags & Flag.CUT]
        assert cut
        assert all(entry.flags & Flag.ESTIMATED for entry in cut)
        most = price(200, 5)
        assert all(0 < charge_of(entry) <= most for entry in cut)


@pytest.mark.parametrize("upstream", [SIGNED, BEARER], ids=["signed", "bearer"])
async def test_a_stream_costs_what_the_whole_answer_costs(tmp_path: Path, upstream: str) -> None:
    """The same question costs the same, streamed or not, with the usage asked for or not, to the pico-dollar."""
    async with World(tmp_path, Setting(upstreams=(upstream,))) as world:
        gateway = await world.start(accounts=1)
        (key,) = world.keys
        await gateway.pay_in(key.account, 10**12)
        for choices in (1, 3):
            ways = [
                Plan.usual(stream=True, n=choices),
                Plan.usual(stream=True, n=choices, stream_options={"include_usage": True}),
                Plan.usual(stream=False, n=choices),
            ]
            told = [await make_call(gateway.port, key.secret, way) for way in ways]

            assert [each.ending for each in told] == ["streamed to the end"] * 2 + ["whole answer"]
            assert len({each.picousd for each in told}) == 1
            assert told[0].picousd
        await world.stop(gateway)

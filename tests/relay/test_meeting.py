"""Where the parts of a call meet: limits, prompts, idempotency keys, cuts, shrunk bounds, and the lives of keys."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from tallygate.config import LimitsSettings
from tallygate.core.access import KeyTerms
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.margin import MarginSums, count_margin
from tallygate.core.ledger.rollup import CallSums, count_call
from tallygate.core.limits import UNLIMITED, Limits
from tests.relay.test_completions import PROMPTS, send_completion
from tests.relay.world import World, charged, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Caller

FAULTS = ("503", "refuse", "cut", "error_event", "500", "429", "garbage", "truncate", "wrong_usage")
OF_ACCOUNT = Limits(requests_per_minute=300, tokens_per_minute=10**7, concurrent_requests=30, spend_day_picousd=10**12)


DEPOSITED = 10**7
"""Enough for some hundred of these calls, but not for the default bounds of many at once."""


def find_spent(world: World) -> tuple[int, int]:
    """Return what is spent and what is held of the account, as its limits are kept."""
    key = world.ledger.keys()[0]
    _, of_account = world.ledger.budgets(world.account.id, key.id, (UNLIMITED, UNLIMITED))
    return of_account[-1].spent, of_account[-1].held


async def find_taken(world: World) -> tuple[int, int]:
    """Return how many requests and tokens count against the minute of the account."""
    key = world.ledger.keys()[0]
    key = await world.ledger.change_key(key.id, key.name, KeyTerms(), "test")
    _, _, (requests, tokens), _ = await world.gateway.relay.limiter.standing(key, world.account)
    assert requests is not None
    assert tokens is not None
    return requests.limit - requests.remaining, tokens.limit - tokens.remaining


def sums_of_past_calls(world: World) -> tuple[int, int, int]:
    """Return what usage and margin add up to: dollars, which both must agree on, and ngonka paid and unpaid."""
    usage: dict[tuple[str, ...], CallSums] = {}
    margin: dict[tuple[str, ...], MarginSums] = {}
    for entry in world.entries(*e.KINDS):
        count_margin(margin, entry)
        if entry.kind in e.ENDINGS:
            count_call(usage, entry)
    earned = sum(sums.base + sums.fee for sums in margin.values())
    assert earned == sum(sums.base + sums.fee for sums in usage.values())
    return earned, sum(sums.paid for sums in margin.values()), sum(sums.unpaid for sums in margin.values())


async def live_through(world: World, dice: random.Random) -> list[int]:
    """Call in every way at once while faults come and go and keys are paused, rotated and limited; return statuses."""

    async def call(number: int) -> int:
        stream = dice.random() < 0.5
        key = f"call-{number % 40}" if dice.random() < 0.5 else None
        caller: Caller
        if number % 2:
            caller = await send_completion(world, key=key, prompt=PROMPTS[: dice.randrange(1, 4)], stream=stream)
        else:
            bound = ... if dice.random() < 0.5 else 5
            caller = await world.send(key=key, n=dice.randrange(1, 3), stream=stream, max_tokens=bound)
        for _ in range(dice.randrange(30)):
            await asyncio.sleep(0)
        if dice.random() < 0.25:
            caller.leave()
            return 0
        status, _ = await caller.head()
        await caller.rest()
        return status

    async def disturb() -> None:
        key = world.ledger.keys()[0]
        for _ in range(25):
            world.order(dice.choice(FAULTS), host=dice.randrange(len(world.hosts)), times=1)
            if dice.random() < 0.2:
                await world.ledger.pause_key(key.id, "test")
                await world.ledger.resume_key(key.id, "test")
            limits = Limits(concurrent_requests=dice.randrange(5, 25), tokens_per_minute=dice.randrange(10**4, 10**6))
            await world.ledger.change_key(key.id, key.name, KeyTerms(limits=limits), "test")
            secret = mint_api_key(os.urandom(32))
            await world.ledger.rotate_key(key.id, key_digest(world.pepper, secret), mask(secret), 10**12, "test")
            world.secret = secret
            for _ in range(dice.randrange(40)):
                await asyncio.sleep(0)

    disturbance = asyncio.ensure_future(disturb())
    statuses: list[int] = []
    for wave in range(5):
        statuses += await asyncio.gather(*(call(number) for number in range(30 * wave, 30 * wave + 30)))
    await disturbance
    return statuses


async def test_who_is_cut_twice_is_told_the_first_reason() -> None:
    """A gateway that stops in the very moment in which a key ends does not tell its caller to come back."""
    async with open_world(calls_under_way="cut") as world:
        world.order("barrier", count=100)
        caller = await world.send()
        await world.arrival(1)
        pausing = asyncio.ensure_future(world.ledger.pause_key(world.ledger.keys()[0].id, "test"))
        await asyncio.sleep(0)
        world.gateway.relay.cut()
        answer = await caller.answer()
        await pausing

        assert (answer.status, answer.code) == (401, "invalid_api_key")
        assert "retry-after" not in answer.headers


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("calls_under_way", ["finish", "cut"])
async def test_nothing_is_lost_where_all_of_it_meets(seed: int, calls_under_way: str) -> None:
    """Through all of it at once no place, no share of a limit and no money is kept or given back twice."""
    dice = random.Random(seed)
    kinds = ["gonka", "openai", "openai"][seed % 2 :]
    async with open_world(
        *kinds,
        limits=LimitsSettings(Limits(), OF_ACCOUNT),
        calls_under_way="cut" if calls_under_way == "cut" else "finish",
        short_balance="shrink",
        picousd=DEPOSITED,
        left_drain_s=0.05,
    ) as world:
        statuses = await live_through(world, dice)
        world.clear_faults()
        await world.settle_down()

        assert set(statuses) <= {0, 200, 400, 401, 402, 409, 422, 429, 502, 503, 504}
        assert 200 in statuses
        assert "0 under way" in repr(world.gateway.relay.limiter)
        charges = sum(charged(ending) for ending in world.entries(*e.ENDINGS))
        assert find_spent(world) == (charges, 0)
        assert DEPOSITED - world.account.balance == charges
        assert len({entry.completion_tokens for entry in world.entries(e.HOLD)}) > 3, "no bound was shrunk"
        held = {entry.inference for entry in world.entries(e.HOLD)}
        assert held == {entry.inference for entry in world.entries(*e.ENDINGS)}
        assert len(held) == len(world.entries(e.HOLD)) == len(world.entries(*e.ENDINGS))
        used = sum((entry.prompt_tokens or 0) + (entry.completion_tokens or 0) for entry in world.entries(e.SETTLE))
        assert await find_taken(world) == (len(held), used)
        assert sums_of_past_calls(world) == (
            charges,
            world.posted_ngonka(e.COST_PAID),
            world.posted_ngonka(e.COST_UNPAID),
        )

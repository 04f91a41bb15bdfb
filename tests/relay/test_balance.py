"""What a caller is told of their balance, over whole calls."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tests.relay.world import open_world, until

if TYPE_CHECKING:
    from tests.relay.world import World


async def balance(world: World) -> dict[str, Decimal]:
    """Ask for the balance."""
    answer = await world.get("/v1/balance")
    assert answer.status == 200
    return {name: Decimal(text) for name, text in answer.json().items()}


async def test_the_balance_falls_by_what_an_answer_says_it_cost() -> None:
    """While nothing is held, the balance falls by exactly each answer's `total_cost_usd`, streamed or not."""
    async with open_world() as world:
        before = await balance(world)
        for stream in (False, True):
            answer = await world.chat(stream=stream)
            await until(lambda: not world.gateway.relay.under_way)
            after = await balance(world)

            assert before["balance_usd"] - after["balance_usd"] == Decimal(answer.usage["total_cost_usd_exact"]) > 0
            assert f'"total_cost_usd":{before["balance_usd"] - after["balance_usd"]:f}'.encode() in answer.body
            assert after == dict.fromkeys(("balance_usd", "available_usd"), after["balance_usd"]) | {"held_usd": 0}
            before = after


async def test_what_is_held_shows() -> None:
    """While a call is under way, what is set aside for it is held, and the balance is the same."""
    async with open_world() as world:
        before = await balance(world)
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        during = await balance(world)
        world.open_barriers()
        await caller.answer()

        assert during["balance_usd"] == before["balance_usd"] == during["available_usd"] + during["held_usd"]
        assert during["held_usd"] > 0
        assert before["held_usd"] == 0


async def test_the_balance_asks_for_a_key() -> None:
    """Without a key there is no balance."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.request("GET", "/v1/balance", {})

        assert (await caller.answer()).status == 401

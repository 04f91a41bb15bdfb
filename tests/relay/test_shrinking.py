"""Whole calls on balances that do not pay for the default bound, where the operator lets them shrink."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tests.relay.test_estimate import estimate
from tests.relay.world import World, cost, open_world


async def prompt_bound(**fields: Any) -> int:
    """Return the prompt's bound of the question that these tests ask without `max_tokens`."""
    async with open_world() as world:
        await world.chat(max_tokens=..., **fields)
        (hold,) = world.entries(e.HOLD)
        return hold.prompt_tokens or 0


def held_by(hold: e.Entry) -> int:
    """Return what a hold set aside."""
    return sum(amount for _, name, amount in hold.postings if name.endswith("/held"))


def sent_tokens(world: World) -> list[tuple[int, int]]:
    """Return both bounds that each call left with."""
    bodies = [json.loads(call.body) for host in world.hosts for call in host.calls]
    return [(body["max_tokens"], body["max_completion_tokens"]) for body in bodies]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("choices", [1, 3])
async def test_a_default_bound_shrinks_to_what_is_affordable(stream: bool, choices: int) -> None:
    """With money for 50 tokens a choice and a bit, just 50 are asked for, the header tells, and the call is served."""
    fields = {"stream": stream, "n": choices}
    picousd = cost(await prompt_bound(**fields), 51 * choices).total - 1
    async with open_world(picousd=picousd, short_balance="shrink") as world:
        answer = await world.chat(max_tokens=..., **fields)

        assert (answer.status, answer.headers["x-tallygate-changes"]) == (200, "max_tokens=50, temperature=0.7")
        assert sent_tokens(world) == [(50, 50)]
        (hold,) = world.entries(e.HOLD)
        assert (hold.completion_tokens, hold.available_after) == (50 * choices, picousd - held_by(hold))
        assert not answer.usage.get("overrun")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_default_bound_shrinks_to_what_a_limit_leaves(stream: bool) -> None:
    """A key that may spend what 50 tokens cost is served so many; the next call with less left is told of the limit."""
    fields = {"stream": stream}
    picousd = cost(await prompt_bound(**fields), 51).total - 1
    async with open_world(short_balance="shrink") as world:
        await world.limit(spend_day_picousd=picousd)
        foretold = await estimate(world, max_tokens=..., **fields)
        answer = await world.chat(max_tokens=..., **fields)
        named = await world.chat(max_tokens=4096, **fields)

        assert (answer.status, answer.headers["x-tallygate-changes"]) == (200, "max_tokens=50, temperature=0.7")
        assert sent_tokens(world) == [(50, 50)]
        assert (foretold["accepted"], foretold["hold"]["completion_tokens_max"]) == (True, 50)
        assert (named.status, named.code) == (429, "spend_limit_exceeded")
        (hold,) = world.entries(e.HOLD)
        assert held_by(hold) <= picousd


@pytest.mark.parametrize("bound", ["max_tokens", "max_completion_tokens"])
async def test_a_bound_that_the_caller_named_stands(bound: str) -> None:
    """A caller that named a bound is refused for it, since it asked for an answer of that length."""
    async with open_world(picousd=cost(1000, 100).total, short_balance="shrink") as world:
        answer = await world.chat(**({"max_tokens": ...} | {bound: 4096}))

        assert (answer.status, answer.code) == (402, "insufficient_balance")
        assert world.upstream_calls == 0


async def test_a_balance_that_pays_for_the_default_is_not_shrunk() -> None:
    """Shrinking changes nothing for whoever has the money."""
    async with open_world(short_balance="shrink") as world:
        answer = await world.chat(max_tokens=...)

        assert (answer.status, answer.headers["x-tallygate-changes"]) == (200, "max_tokens=4096, temperature=0.7")


async def test_without_the_setting_a_default_bound_is_refused() -> None:
    """As shipped, a call whose default bound is not affordable is refused."""
    async with open_world(picousd=cost(1000, 100).total) as world:
        answer = await world.chat(max_tokens=...)

        assert (answer.status, answer.code) == (402, "insufficient_balance")


async def test_parallel_calls_are_never_shrunk_to_the_same_money() -> None:
    """Of 50 calls at once on money for a short answer one is served at a time, and the others are told to wait."""
    prompt = await prompt_bound()
    async with open_world(picousd=cost(prompt, 30).total, short_balance="shrink") as world:
        world.order("barrier", count=1000, times=None)
        callers = [await world.send(max_tokens=...) for _ in range(50)]
        waiting = {asyncio.ensure_future(caller.answer()) for caller in callers}
        refused = set()
        while len(waiting) > 1:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        world.clear_faults()
        (served,) = [await task for task in waiting]

        assert {(task.result().status, task.result().code) for task in refused} == {(429, "balance_held")}
        assert (served.status, sent_tokens(world)) == (200, [(30, 30)])


async def test_a_report_beyond_the_shrunk_bound_is_not_believed() -> None:
    """What was asked for in the end is what a report is measured by: a claim of hidden tokens beyond it is no usage."""
    prompt = await prompt_bound()
    async with open_world("openai", picousd=cost(prompt, 30).total, short_balance="shrink") as world:
        hidden = {"completion_tokens_details": {"reasoning_tokens": 3000}}
        world.order(
            "wrong_usage", usage={"prompt_tokens": 10, "completion_tokens": 3000, "total_tokens": 3010, **hidden}
        )
        answer = await world.chat(max_tokens=...)

        assert (answer.status, answer.usage["estimated"]) == (200, True)
        assert answer.usage["completion_tokens"] <= 40
        assert "overrun" not in answer.usage

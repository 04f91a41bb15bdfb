"""A node whose port closes amid many calls: what it had is mended or told, and nothing new is lost on it."""

from __future__ import annotations

import asyncio

import pytest

from tallygate.core.ledger import entry as e
from tallygate.devnet import DevnetSettings
from tallygate.devnet.settings import NodeSettings
from tests.relay.world import World, open_world

FIVE = DevnetSettings(pace_ms=0, nodes=(NodeSettings(),) * 5)
DYING = 2


def blamed(world: World) -> int:
    """Return how often the dying node was blamed so far, of what is remembered."""
    return len(world.gateway.upstreams.upstreams[0].places[DYING].standing.recent)


async def test_new_calls_lose_nothing_on_a_dead_node() -> None:
    """From the moment on that connections are refused, every call is answered by others, and it is soon not asked."""
    now_s = 1000.0
    async with open_world(devnet=FIVE, monotonic_s=lambda: now_s) as world:  # no time passes at all
        for number in range(20):
            assert (await world.chat(stream=bool(number % 2))).status == 200
        before = len(world.hosts[DYING].calls)
        assert before
        world.order("down", host=DYING)
        for _ in range(3):
            answers = await asyncio.gather(*(world.chat(stream=bool(number % 2)) for number in range(20)))
            assert {answer.status for answer in answers} == {200}
        seen = blamed(world)
        assert 0 < seen <= 10
        for _ in range(20):
            assert (await world.chat()).status == 200

        assert blamed(world) == seen
        assert len(world.hosts[DYING].calls) == before
        assert world.posted_ngonka(e.COST_UNPAID) == 0  # what was refused was never taken
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
        now_s += 10.0
        world.clear_faults()
        for _ in range(20):
            assert (await world.chat()).status == 200
        assert len(world.hosts[DYING].calls) > before


@pytest.mark.parametrize("stream", [False, True])
async def test_calls_under_way_end_when_their_node_dies(stream: bool) -> None:
    """An answer that had begun breaks off, and is charged as far as it came; one that had not comes from another."""
    async with open_world(devnet=FIVE) as world:
        world.order("stall_headers" if not stream else "hold_stream", host=DYING, times=None)
        callers = [await world.send(stream=stream) for _ in range(5)]
        await world.arrival(5)
        while not world.hosts[DYING].calls:
            callers.append(await world.send(stream=stream))
            await world.arrival(len(callers))
        world.order("down", host=DYING)
        answers = [await caller.answer() for caller in callers]
        ended = {entry.inference: entry for entry in world.entries(*e.ENDINGS)}
        assert len(ended) == len(answers)
        for answer in answers:
            entry = ended[answer.headers["x-inference-id"]]
            if entry.node == world.devnet.nodes[DYING].address:
                assert stream
                assert b"upstream_interrupted" in answer.body
            else:
                assert answer.status == 200
                assert entry.kind == e.SETTLE
        world.clear_faults()

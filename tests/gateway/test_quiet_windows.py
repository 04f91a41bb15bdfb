"""Quiet windows of a whole devnet: what callers are told, what nodes are not blamed for, and when all is well again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tallygate.devnet.epochs import Phase
from tests.gateway.clockwork import LOOK_S, DiscoveringWorld, discovering

if TYPE_CHECKING:
    from tests.relay.caller import Answer

BLOCK_S = 5
TOLD_S_MAX = 120
"""The contract's bound of `retry-after`: clients take a longer one for none at all."""


def seconds_to(world: DiscoveringWorld, height: int) -> float:
    """Return when a block will be there."""
    clock = world.devnet.chain.clock
    latest = clock.latest()
    return (latest.time_ns - world.clock.chain_ns()) / 10**9 + (height - latest.height) * BLOCK_S


def window_ends_in(world: DiscoveringWorld) -> float:
    """Return how long the quiet window that has begun will last, by the chain."""
    chain = world.devnet.chain
    return seconds_to(world, chain.epochs.at(chain.clock.latest().height).validation_end)


async def look_well(world: DiscoveringWorld) -> None:
    """Find the nodes, and measure how long blocks take."""
    await world.watch.look()
    await world.pass_time(3 * LOOK_S)
    assert (await world.chat()).status == 200


def assert_told(world: DiscoveringWorld, refused: Answer) -> None:
    """The caller is told when the window ends: by the header as far as that goes, and by the message."""
    assert (refused.status, refused.code) == (503, "network_unavailable")
    found = re.search(r"quiet window, as far as is known for another ([0-9]+) s\.", refused.json()["error"]["message"])
    assert found is not None
    assert abs(int(found[1]) - window_ends_in(world)) <= 2 * BLOCK_S
    assert int(refused.headers["retry-after"]) == min(int(found[1]), TOLD_S_MAX)


def assert_nobody_is_blamed(world: DiscoveringWorld) -> None:
    """No node is left out, or remembered for anything."""
    assert [place.is_out for place in world.upstream.places] == [False] * len(world.upstream.places)
    assert [list(place.standing.recent) for place in world.upstream.places] == [[]] * len(world.upstream.places)


async def test_a_quiet_window() -> None:
    """In it, callers get 503 with the time to its end, nodes are not blamed, models are degraded; then all is well."""
    async with discovering() as world:
        await look_well(world)
        assert await world.status_of_model() == "available"
        epochs = world.devnet.chain.epochs
        epochs.enter(Phase.GENERATE, world.devnet.chain.clock.latest().height)
        await world.pass_time(LOOK_S)
        waits = 0
        for _ in range(5):
            assert_told(world, await world.chat())
            assert_nobody_is_blamed(world)
            assert await world.status_of_model() == "degraded"
            await world.pass_time(LOOK_S)
        while (refused := await world.chat()).status == 503:
            world.clock.passed_s += int(refused.headers["retry-after"])  # as a patient caller does; nobody looks anew
            waits += 1
        assert 5 <= waits <= 6

        assert await world.status_of_model() == "available"
        assert (await world.chat()).status == 200
        assert_nobody_is_blamed(world)


async def test_a_window_that_begins_between_two_looks() -> None:
    """When a window begins is known beforehand, so that its first refusals are held against nobody either."""
    async with discovering() as world:
        await look_well(world)
        chain = world.devnet.chain
        start = chain.epochs.at(chain.clock.latest().height).next_start
        chain.clock.skip(start - 2 - chain.clock.latest().height)
        await world.watch.look()
        assert await world.status_of_model() == "available"
        world.clock.passed_s += seconds_to(world, start) + BLOCK_S
        refused = await world.chat()

        assert refused.status == 503
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert_nobody_is_blamed(world)
        assert await world.status_of_model() == "degraded"


async def test_a_refusal_out_of_every_window_is_held_against_a_node() -> None:
    """A node that serves nobody while the others do is left out, and models stay available."""
    async with discovering() as world:
        await look_well(world)
        world.order("503", host=1, times=None)
        for _ in range(8):
            assert (await world.chat()).status == 200

        assert [place.is_out for place in world.upstream.places] == [False, True, False, False]
        assert await world.status_of_model() == "available"
        world.clear_faults()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.INFERENCE])
async def test_every_phase_but_one_is_quiet(phase: Phase) -> None:
    """Whatever part of the proof of compute is under way, its end is told to callers."""
    async with discovering() as world:
        await look_well(world)
        world.devnet.chain.epochs.enter(phase, world.devnet.chain.clock.latest().height)
        await world.watch.look()
        assert_told(world, await world.chat())
        assert_nobody_is_blamed(world)


async def test_calls_go_on_while_some_nodes_confirm() -> None:
    """A confirmation of the proof of compute may leave nodes that serve: they are asked, and whoever refuses is not."""
    async with discovering() as world:
        await look_well(world)
        world.devnet.chain.epochs.confirmation_poc = True
        await world.watch.look()
        world.order("503", host=1, times=None)
        for _ in range(8):
            assert (await world.chat()).status == 200

        assert_nobody_is_blamed(world)
        world.clear_faults()

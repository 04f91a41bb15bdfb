"""A gateway whose clock is off, against a whole devnet: nodes that check timestamps, and a chain that may halt."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.gateway.clockwork import LOOK_S, Clock, DiscoveringWorld, discovering

SAMPLES_S = 6 * LOOK_S
"""So long takes it that all blocks that count are new."""


async def look_well(world: DiscoveringWorld) -> None:
    """Find the nodes, and see enough blocks."""
    await world.watch.look()
    await world.pass_time(SAMPLES_S)


def corrected_s(world: DiscoveringWorld) -> float:
    """Return by how much timestamps are corrected."""
    return world.upstream.chain.offset_ns / 10**9


@pytest.mark.parametrize("skew_s", [-110, -70, 40, 115])
async def test_a_clock_that_is_off_is_corrected(skew_s: float) -> None:
    """Nodes refuse a time that is too old or in the future; once blocks have shown it, calls are signed with theirs."""
    async with discovering(Clock(skew_s=skew_s)) as world:
        await world.watch.look()
        assert (await world.chat()).status == 502
        await world.pass_time(SAMPLES_S)
        for _ in range(8):
            assert (await world.chat()).status == 200

        assert corrected_s(world) == pytest.approx(-skew_s, abs=6)


@pytest.mark.parametrize("skew_s", [-5, 0, 8])
async def test_a_clock_that_is_right_is_left_alone(skew_s: float) -> None:
    """Some seconds are no error: blocks are that old when they come."""
    async with discovering(Clock(skew_s=skew_s)) as world:
        await look_well(world)

        assert corrected_s(world) == 0
        assert (await world.chat()).status == 200


@pytest.mark.parametrize("skew_s", [-140, 140, 86_400])
async def test_a_clock_that_is_far_off_has_to_be_mended(skew_s: float) -> None:
    """Beyond the bounds nothing is corrected: calls are refused, and the operator sees why."""
    async with discovering(Clock(skew_s=skew_s)) as world:
        await look_well(world)

        assert corrected_s(world) == 0
        assert world.upstream.describe()["clock_is_too_far"] is True
        assert (await world.chat()).status == 502


@pytest.mark.parametrize("skew_s", [0, 60])
async def test_a_halted_chain_is_not_followed(skew_s: float) -> None:
    """However long a chain stands still, timestamps run on; when it goes on, so do calls, at once."""
    async with discovering(Clock(skew_s=skew_s)) as world:
        await look_well(world)
        assert (await world.chat()).status == 200
        before_s = corrected_s(world)
        world.devnet.chain.clock.stall()
        for _ in range(40):
            await world.pass_time(LOOK_S)
            assert corrected_s(world) == before_s
        world.devnet.chain.clock.resume()

        assert (await world.chat()).status == 200
        await look_well(world)
        assert corrected_s(world) == pytest.approx(before_s, abs=6)
        assert (await world.chat()).status == 200


async def test_a_clock_that_is_put_right_is_believed_again() -> None:
    """When the operator mends the clock, the correction ends; no two calls were ever signed with one timestamp."""
    async with discovering(Clock(skew_s=-70)) as world:
        await look_well(world)
        assert (await world.chat()).status == 200
        world.clock.skew_s = 0
        await world.pass_time(2 * SAMPLES_S)
        assert corrected_s(world) == 0
        for _ in range(4):
            assert (await world.chat()).status == 200

        stamps = [int(call.headers["x-timestamp"]) for host in world.hosts for call in host.calls]
        assert Counter(stamps).most_common(1)[0][1] == 1
        assert max(stamps[-4:]) < world.clock.chain_ns() + 10**9

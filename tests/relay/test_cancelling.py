"""A call whose task is cancelled from outside, at every stage: one ending, nothing held, no defect."""

import pytest
from structlog.testing import capture_logs

from tallygate.core.ledger import entry as e
from tests.relay.caller import Caller
from tests.relay.world import World, open_world, until

STREAMED = pytest.mark.parametrize("stream", [False, True])


def cancel_calls(world: World) -> None:
    """Cancel every task that serves a caller."""
    assert world.server._state.tasks
    for task in tuple(world.server._state.tasks):
        task.cancel()


async def assert_one_ending(world: World, kind: str) -> None:
    """Check that the call ended once, as told."""
    await until(lambda: not world.gateway.relay.under_way and not world.account.held)
    await until(lambda: world.entries(*e.ENDINGS))
    assert [entry.kind for entry in world.entries(*e.ENDINGS)] == [kind]


async def hold_back(world: World, *, stream: bool) -> Caller:
    """Begin a call, and wait until its next commit is held back."""
    flushes = world.journal.flushes
    world.journal.hold_back()
    world.clear_faults()
    caller = await world.send(stream=stream) if not world.upstream_calls else await world.connect()
    await until(lambda: world.journal.flushes > flushes)
    return caller


@STREAMED
async def test_cancelled_while_the_hold_is_committed(stream: bool) -> None:
    """A call that was not sent is given back."""
    async with open_world() as world:
        with capture_logs() as logs:
            await hold_back(world, stream=stream)
            cancel_calls(world)
            await until(lambda: not world.server._state.tasks)
            world.journal.let_go()
            await assert_one_ending(world, e.VOID)

        assert world.upstream_calls == 0
        assert not [line for line in logs if line["event"] == "defect"]


@STREAMED
async def test_cancelled_while_the_network_thinks(stream: bool) -> None:
    """A call that was sent is charged as if its caller had left."""
    async with open_world() as world:
        with capture_logs() as logs:
            world.order("barrier", count=1000)
            await world.send(stream=stream)
            await world.arrival(1)
            cancel_calls(world)
            await assert_one_ending(world, e.SETTLE)

        assert not [line for line in logs if line["event"] == "defect"]
        world.clear_faults()


@STREAMED
async def test_cancelled_while_the_charge_is_committed(stream: bool) -> None:
    """A charge that is on its way to the disk stays the only ending, and stays what it is."""
    async with open_world() as world:
        with capture_logs() as logs:
            world.order("barrier", count=1000)
            await world.send(stream=stream)
            await world.arrival(1)
            await hold_back(world, stream=stream)
            cancel_calls(world)
            await until(lambda: not world.server._state.tasks)
            world.journal.let_go()
            await assert_one_ending(world, e.SETTLE)

        assert world.ending().completion_tokens == 5
        assert world.ending().flags == 0
        assert not [line for line in logs if line["event"] == "defect"]

"""A host that is down: nobody listens at its port, which stays its own, until it is back."""

import asyncio

import pytest
import uvloop

from tallygate.devnet import Devnet, DevnetSettings
from tests.devnet.conftest import HandClock, World
from tests.devnet.wire import Wire, control, request


async def is_refused(url: str) -> bool:
    """Says whether a connection is refused."""
    try:
        wire = await Wire.open(url)
    except ConnectionRefusedError:
        return True
    wire.leave()
    return False


async def test_a_host_that_is_down_refuses_connections(world: World) -> None:
    """Its port is closed at once, whoever is connected is reset, other hosts go on, and deleting brings it back."""
    other = world.devnet.nodes[1].url
    idle = await Wire.open(world.url)
    await idle.send("GET", "/v1/status")
    assert (await idle.receive()).status == 200
    await control(other, "POST", "faults", {"fault": "down", "node": 0})
    assert await is_refused(world.url)
    with pytest.raises(ConnectionResetError):
        await idle.receive_raw()
    assert (await world.chat(index=1)).status == 200
    for _ in range(3):
        assert await is_refused(world.url)
    await control(other, "DELETE", "faults", {"node": 0})
    assert (await world.chat()).status == 200
    assert world.spent() > 0


async def test_a_call_under_way_is_reset(world: World) -> None:
    """An answer that is being sent breaks off; what it has cost stays paid, as a node that dies has counted it."""
    await world.order("hold_stream", after_frames=1)
    wire = await world.open_chat(stream=True)
    await wire.receive_frames(1)
    await control(world.devnet.nodes[1].url, "POST", "faults", {"fault": "down", "node": 0})
    with pytest.raises(ConnectionResetError):
        await wire.receive_raw()
    await control(world.devnet.nodes[1].url, "DELETE", "faults", {"node": "all"})
    await world.devnet.wait_idle()
    (inference,) = world.devnet.chain.inferences.values()
    assert inference.ended is not None


async def test_a_host_can_be_told_to_go_down_itself(world: World) -> None:
    """Whoever tells it gets the answer, and can bring it back on that connection."""
    wire = await Wire.open(world.url)
    await wire.send("POST", "/devnet/faults", {}, b'{"fault": "down"}')
    assert (await wire.receive()).status == 200
    assert await is_refused(world.url)
    await wire.send("DELETE", "/devnet/faults")
    assert (await wire.receive()).status == 200
    assert not await is_refused(world.url)
    wire.leave()


async def test_a_host_comes_back_by_itself(world: World) -> None:
    """After `for_ms` it listens again; a later order counts from anew, and one without an end has none."""
    other = world.devnet.nodes[1].url
    await control(other, "POST", "faults", {"fault": "down", "node": 0, "for_ms": 0})
    while await is_refused(world.url):
        await request(other, "GET", "/v1/status")
    await control(other, "POST", "faults", {"fault": "down", "node": 0, "for_ms": 1})
    await control(other, "POST", "faults", {"fault": "down", "node": 0})
    await request(other, "GET", "/v1/status")
    assert world.devnet._nodes[0].faults._return is None
    assert await is_refused(world.url)


async def test_a_host_can_die_of_a_call(world: World) -> None:
    """As a step of a script, or by chance, it goes down with a call, which is reset."""
    await control(world.url, "POST", "faults", {"script": [None, "down"]})
    assert (await world.chat()).status == 200
    with pytest.raises(ConnectionResetError):
        await world.chat()
    assert await is_refused(world.url)
    await control(world.devnet.nodes[1].url, "DELETE", "faults", {"node": 0})
    await world.order("down", probability=0)
    assert (await world.chat()).status == 200


async def test_a_devnet_that_ends_while_a_host_is_down_leaves_nothing_open(settings: DevnetSettings) -> None:
    """The port that was kept is given back."""
    async with Devnet(settings, now_ns=HandClock()) as devnet:
        url = devnet.nodes[0].url
        await control(url, "POST", "faults", {"fault": "down"})
    port = int(url.rpartition(":")[2])
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    server.close()


def test_the_command_lines_event_loop_can_do_it(settings: DevnetSettings) -> None:
    """On uvloop, too, a port is refused, kept and given back."""

    async def play() -> list[bool]:
        async with Devnet(settings, now_ns=HandClock()) as devnet:
            first, second = devnet.nodes[0].url, devnet.nodes[1].url
            seen = []
            for _ in range(3):
                await control(second, "POST", "faults", {"fault": "down", "node": 0})
                seen.append(await is_refused(first))
                await control(second, "DELETE", "faults", {"node": 0})
                seen.append(await is_refused(first))
            return seen

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(play()) == [True, False] * 3

"""The devnet as a whole: ports, announcements, stability, independence."""

import ast
import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop

from tallygate import devnet as package
from tallygate.devnet import (
    ChatCall,
    Devnet,
    DevnetPortBusyError,
    DevnetSettings,
    Ending,
    EngineEvent,
    Piece,
    Prompt,
    serve,
)
from tests.devnet.conftest import HandClock, World
from tests.devnet.signing import MODEL
from tests.devnet.wire import Wire, request


async def test_addresses_are_stable(settings: DevnetSettings) -> None:
    """The same seed gives the same addresses in every run, another seed others."""
    addresses = []
    for seed in (1, 1, 2):
        async with Devnet(replace(settings, seed=seed)) as devnet:
            addresses.append([node.address for node in devnet.nodes])
    assert addresses[0] == addresses[1] != addresses[2]
    assert len(set(addresses[0])) == len(addresses[0])


async def test_a_busy_port_is_named_and_nothing_is_left_open(settings: DevnetSettings) -> None:
    """A taken port is a clear error, and the ports before it are free again."""
    async with Devnet(settings) as first:
        port = urlsplit(first.nodes[1].url).port
        assert port
        second = Devnet(replace(settings, base_port=port))
        with pytest.raises(DevnetPortBusyError, match=f"port {port} is already in use"):
            await second.start()
        assert second.nodes == ()


async def test_serve_announces_and_runs_until_cancelled(settings: DevnetSettings) -> None:
    """Serving tells each node's URL and address, then the Bearer's URL and key, then stays up."""
    lines: list[str] = []
    announced = asyncio.Event()

    def announce(line: str) -> None:
        lines.append(line)
        if line.startswith("BEARER_KEY="):
            announced.set()

    serving = asyncio.ensure_future(serve(settings, announce))
    await announced.wait()
    names = [line.partition("=")[0] for line in lines]
    assert names == ["NODE_URL", "NODE_ADDRESS"] * 3 + ["BEARER_URL", "BEARER_KEY"]
    values = [line.partition("=")[2] for line in lines]
    assert (await request(values[0], "GET", "/v1/status")).status == 200
    assert values[-2].endswith("/v1")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(ConnectionRefusedError):
        await Wire.open(values[0])


async def test_stops_with_clients_connected(settings: DevnetSettings) -> None:
    """Stopping drops whoever is connected or under way."""
    devnet = Devnet(settings)
    await devnet.start()
    wire = await Wire.open(devnet.nodes[0].url)
    await wire.send("GET", "/v1/status")
    await wire.receive()
    await devnet.stop()
    with pytest.raises(ConnectionResetError):
        await wire.receive_raw()
    wire.leave()


class GatedEngine:
    """An engine that says one word when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def generate(self, call: ChatCall) -> AsyncIterator[EngineEvent]:
        """Waits, then answers."""
        yield Prompt(("one", "two"))
        await self.gate.wait()
        yield Piece(0, {"content": call.model}, ("word",))
        yield Ending(0, "stop")


async def test_another_engine_can_answer(settings: DevnetSettings) -> None:
    """Any engine can stand behind the nodes; until it is done, its inference costs nothing."""
    engine, clock = GatedEngine(), HandClock()
    async with Devnet(settings, now_ns=clock, engine=engine) as devnet:
        world = World(devnet, clock)
        wire = await world.open_chat()
        while not (inferences := (await world.state())["inferences"]):
            pass
        assert (inferences[0]["status"], inferences[0]["cost"]) == ("STARTED", 0)
        assert world.spent() == 0
        engine.gate.set()
        answer = await wire.receive()
        wire.leave()
        assert answer.json()["choices"][0]["message"]["content"] == MODEL
        assert world.spent() == 3


def test_runs_on_uvloop_too(settings: DevnetSettings) -> None:
    """Faults at the socket and a stop beside a leaving client work on uvloop as on asyncio."""

    async def meet_faults() -> None:
        clock = HandClock()
        async with Devnet(settings, now_ns=clock) as devnet:
            world = World(devnet, clock)
            await world.order("refuse")
            wire = await world.open_chat()
            with pytest.raises(ConnectionResetError):
                await wire.receive_raw()
            wire.leave()
            await world.order("stall_stream", after_frames=0)
            wire = await world.open_chat(stream=True)
            await wire.receive_frames(0)
            wire.leave()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(meet_faults())


async def test_uses_the_wall_clock_by_default(settings: DevnetSettings) -> None:
    """Block times are of now unless a test says otherwise."""
    before = time.time_ns()
    async with Devnet(settings) as devnet:
        assert before <= devnet.chain.clock.latest().time_ns <= time.time_ns()


def test_imports_nothing_that_it_checks() -> None:
    """The devnet shares no code with the gateway, and no signing library with it either."""
    for path in Path(package.__file__).parent.glob("*.py"):
        for statement in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom):
                names = [statement.module or ""]
            for name in names:
                inside = name.startswith("tallygate.devnet")
                assert inside or not name.startswith(("tallygate", "coincurve", "msgspec")), path

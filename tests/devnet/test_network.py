"""The devnet as a whole: ports, announcements, stability, independence."""

import ast
import asyncio
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tallygate import devnet as package
from tallygate.devnet import Devnet, DevnetPortBusyError, DevnetSettings, serve
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

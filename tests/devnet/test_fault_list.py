"""The list of faults: each is there by name, for one node alone, by script, and by a chance that one number decides."""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from tallygate.devnet import Devnet, DevnetSettings, NodeSettings
from tallygate.devnet.faults import FAULT_NAMES
from tests.devnet.conftest import CHAT, HandClock, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import Wire
from tests.relay.world import until

PROMISED: dict[str, list[str]] = {
    "refuse": ["refuse", "down"],
    "reset": ["reset", "hang_up"],
    "stall before headers": ["stall_headers"],
    "stall mid-stream": ["stall_stream", "hold_stream"],
    "drip": ["drip"],
    "cut without [DONE]": ["cut", "cut_end", "truncate"],
    "error event": ["error_event"],
    "429 burst": ["429"],
    "500 panic text": ["500"],
    "503 no executor": ["503"],
    "wrong usage": ["usage_low", "usage_high", "usage_absent", "usage_negative", "usage_float", "usage_twice"],
    "any usage": ["wrong_usage"],
    "clock skew": ["clock_skew"],
    "replayed frames": ["repeat_frames"],
    "frames split and joined at random": ["split_frames"],
    "garbage JSON": ["garbage", "garbage_frame"],
    "gzip": ["gzip"],
    "huge frame": ["huge_frame"],
    "slow TLS": ["slow_tls"],
    "redirect elsewhere": ["redirect", "301", "302", "307", "308"],
    "401/402 of an operator's key": ["401", "402"],
    "others": ["barrier", "400", "403", "404", "409", "410", "422", "502", "504"],
}
WAITS = ("barrier", "hold_stream", "slow_tls")
"""They only keep a call waiting; what it gets then is whole."""

UNSTREAMED = ("garbage", "truncate")
FIELDS: dict[str, dict[str, Any]] = {
    "down": {"for_ms": 0},
    "drip": {"delay_ms": 0},
    "huge_frame": {"size_bytes": 1000},
    "slow_tls": {"delay_ms": 600_000},
}
IDS = re.compile(rb'"id":"[^"]*"')


class Hosts:
    """A devnet of two nodes; calls to them are read raw, to the connection's end."""

    def __init__(self, world: World, trust: ssl.SSLContext | None) -> None:
        self.world = world
        self._trust = trust
        self._tls: dict[str, Any] = {} if trust is None else {"ssl": trust}

    async def tell(self, method: str, fields: dict[str, Any], index: int = 0) -> None:
        """Call a control of one node."""
        wire = await Wire.open(self.world.devnet.nodes[index].url, **self._tls)
        await wire.send(method, "/devnet/faults", {}, json.dumps(fields).encode())
        assert (await wire.receive()).status == 200
        wire.leave()

    async def call(self, name: str, index: int = 0) -> bytes:
        """Return every byte that comes for a call, without its id; a mark where it is reset."""
        body = chat_body(stream=name not in UNSTREAMED, max_tokens=6)
        wire = await Wire.open(self.world.devnet.nodes[index].url, **self._tls)
        await wire.send("POST", CHAT, {**self.world.sign(body, index), "connection": "close"}, body)
        try:
            return IDS.sub(b"", await wire.receive_raw())
        except ConnectionResetError:
            return b"reset"
        finally:
            wire.leave()

    def is_held(self, index: int) -> bool:
        """Say whether a fault of a node keeps somebody waiting."""
        book = self.world.devnet._nodes[index].faults
        faults = (*book._arrivals, *book._answers, *book._handshakes, *book._spent)
        return any(getattr(fault, "_waiting", 0) or fault._released._waiters for fault in faults)

    async def shows(self, name: str, healthy: bytes, index: int = 0) -> bool:
        """Say whether a call meets the fault."""
        if name not in WAITS:
            return await self.call(name, index) != healthy
        waiting = asyncio.ensure_future(self.call(name, index))
        await until(lambda: self.is_held(index) or waiting.done())
        for _ in range(2):  # others are answered meanwhile
            await self.call("none", 1 - index)
        waits = not waiting.done()
        if waits:
            await self.tell("DELETE", {"node": index}, 1 - index)
        assert await waiting == healthy
        return waits


@contextlib.asynccontextmanager
async def hosts_of(name: str, seed: int = 1) -> AsyncIterator[Hosts]:
    """Run a new devnet; with TLS, where the fault is one of that."""
    server = client = None
    if name == "slow_tls":
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
    stall_s = 120 if name in WAITS else 0
    settings = DevnetSettings(base_port=0, pace_ms=0, nodes=(NodeSettings(),) * 2, seed=seed, stall_limit_s=stall_s)
    clock = HandClock()
    async with Devnet(settings, now_ns=clock, tls=server) as devnet:
        yield Hosts(World(devnet, clock), client)


async def patterns(name: str, seed: int) -> list[bool]:
    """Say which of some calls meet a fault that is ordered with a chance of one half."""
    async with hosts_of(name, seed) as hosts:
        healthy = await hosts.call(name)
        seen = []
        for _ in range(5):
            await hosts.tell("POST", {"fault": name, "probability": 0.5, "node": 0, **FIELDS.get(name, {})}, 1)
            seen.append(await hosts.shows(name, healthy))
            await hosts.tell("DELETE", {"node": 0}, 1)
        return seen


def test_the_list_is_whole() -> None:
    """Every fault that is promised is there, and every one that is there is among those that are tried here."""
    assert sorted(name for names in PROMISED.values() for name in names) == sorted(FAULT_NAMES)


@pytest.mark.parametrize("name", FAULT_NAMES)
async def test_each_is_ordered_of_one_node(name: str) -> None:
    """A fault that one node is told of another meets that one's calls, as often as ordered, and nobody else's."""
    async with hosts_of(name) as hosts:
        healthy = await hosts.call(name)
        address = hosts.world.devnet.nodes[0].address
        await hosts.tell("POST", {"fault": name, "node": address, **FIELDS.get(name, {})}, 1)
        assert await hosts.call(name, 1) == healthy
        if name == "down":  # at once, and for no time at all: who was not there has missed nothing
            return
        assert await hosts.shows(name, healthy)
        assert await hosts.call(name) == healthy


@pytest.mark.parametrize("name", FAULT_NAMES)
async def test_each_is_a_step_of_a_script(name: str) -> None:
    """A script lets one call pass, and the next one meet the fault; of TLS, it is that call's next connection."""
    async with hosts_of(name) as hosts:
        healthy = await hosts.call(name)
        step = {"fault": name, **FIELDS.get(name, {})}
        await hosts.tell("POST", {"script": [None, step], "node": 0}, 1)
        assert await hosts.call(name) == healthy
        if name == "slow_tls":
            assert await hosts.call(name) == healthy
        assert await hosts.shows(name, healthy)
        assert await hosts.call(name) == healthy


@pytest.mark.parametrize("name", FAULT_NAMES)
async def test_each_comes_by_a_chance_that_one_number_decides(name: str) -> None:
    """With a probability some calls meet it and some do not: the same ones for the same seed, others for another."""
    first = await patterns(name, 5)
    assert set(first) == {True, False}
    assert await patterns(name, 5) == first
    assert await patterns(name, 6) != first

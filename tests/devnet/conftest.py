"""What devnet's tests share: a clock that stands still, a running devnet, a funded developer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings, NodeSettings, Scheme
from tests.devnet.signing import Developer, chat_body
from tests.devnet.wire import Answer, Wire, control, request

START_NS = 1_800_000_000_000_000_000
BALANCE = 1_000_000_000
CHAT = "/v1/chat/completions"


@dataclass
class HandClock:
    """A clock that moves only by hand."""

    time_ns: int = START_NS

    def __call__(self) -> int:
        """Gives the time."""
        return self.time_ns


class World:
    """A running devnet, its clock, and a developer with money who signs ever new timestamps."""

    def __init__(self, devnet: Devnet, clock: HandClock) -> None:
        self.devnet = devnet
        self.clock = clock
        self.developer = Developer(bytes(31) + b"\x01")
        self.url = devnet.nodes[0].url
        self._last_ns = 0
        devnet.chain.fund(self.developer.public_key, BALANCE)

    def sign(self, body: bytes, index: int = 0, timestamp_ns: int | None = None) -> dict[str, str]:
        """Gives the headers of a request to a node."""
        self._last_ns = max(self._last_ns + 1, self.clock.time_ns)
        node = self.devnet.nodes[index]
        chosen_ns = self._last_ns if timestamp_ns is None else timestamp_ns
        return self.developer.headers(body, chosen_ns, node.address, node.scheme)

    async def chat(self, index: int = 0, **fields: Any) -> Answer:
        """Makes a signed call to a node."""
        body = chat_body(**fields)
        return await self.send(self.sign(body, index), body, index)

    async def send(self, headers: dict[str, str], body: bytes, index: int = 0) -> Answer:
        """Sends a call with given headers to a node."""
        return await request(self.devnet.nodes[index].url, "POST", CHAT, headers, body)

    async def open_chat(self, **fields: Any) -> Wire:
        """Sends a signed call and gives the connection on which its answer comes."""
        body = chat_body(**fields)
        wire = await Wire.open(self.url)
        await wire.send("POST", CHAT, self.sign(body), body)
        return wire

    async def order(self, fault: str, **fields: Any) -> None:
        """Orders a fault from the first node."""
        await control(self.url, "POST", "faults", {"fault": fault, **fields})

    async def state(self) -> Any:
        """Gives the first node's state."""
        return await control(self.url, "GET", "state")

    def spent(self) -> int:
        """Gives what the developer has paid so far; what is in escrow is not paid yet."""
        account = self.devnet.chain.accounts[self.developer.address]
        return BALANCE - account.balance_ngonka - account.escrowed_ngonka


@pytest.fixture
def settings() -> DevnetSettings:
    """A devnet with a node of each scheme, as fast as possible."""
    schemes = (Scheme.HASH, Scheme.RAW, Scheme.DEPRECATED)
    return DevnetSettings(base_port=0, pace_ms=0, nodes=tuple(map(NodeSettings, schemes)))


@pytest.fixture
async def world(settings: DevnetSettings) -> AsyncIterator[World]:
    """A running devnet."""
    clock = HandClock()
    async with Devnet(settings, now_ns=clock) as devnet:
        yield World(devnet, clock)

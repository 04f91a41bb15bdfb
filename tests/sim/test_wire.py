"""The simulated network keeps TCP's promises and no others: bytes in order, in any pieces, at any time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from tests.sim.loop import Process
from tests.sim.wire import SimNet

SENT = bytes(range(256)) * 1000


class End(asyncio.Protocol):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.pieces = 0
        self.over: list[object] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Keep it."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data
        self.pieces += 1

    def eof_received(self) -> None:
        """Note it."""
        self.over.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it."""
        self.over.append(type(exc).__name__)


async def connect(net: SimNet, make: Any = End) -> tuple[End, End]:
    """Return both ends of a new connection."""
    far = make()
    listener = await net.create_server(lambda: far)
    _, near = await net.create_connection(make, *listener.getsockname())
    return near, far


def test_bytes_arrive_in_order_and_whole() -> None:
    """Whatever pieces they come in, the bytes are those that were written, and the end comes after them."""
    pieces = set()
    for seed in range(20):
        net = SimNet(random.Random(seed))

        async def send(net: SimNet = net) -> End:
            near, far = await connect(net)
            for start in range(0, len(SENT), 1000):
                near.transport.write(SENT[start : start + 1000])
            near.transport.close()
            while not far.over:
                await net.run_in_executor(None, lambda: None)
            assert (bytes(far.heard), far.over[0]) == (SENT, "eof")
            return far

        pieces.add(net.run_until_complete(send()).pieces)
        net.close()
    assert len(pieces) > 1


def test_death_of_a_process_ends_its_connections() -> None:
    """Who talked to a process that was killed hears an end or a reset, and not a word after it."""
    ends = set()
    for seed in range(20):
        net = SimNet(random.Random(seed))
        process = Process("doomed")

        async def kill(net: SimNet = net, process: Process = process) -> End:
            far = End()
            listener = await net.create_server(lambda: far)
            _, near = await process.start(net, net.create_connection(End, *listener.getsockname()))
            process.die()
            near.transport.write(b"from the grave")
            while not far.over:
                await net.run_in_executor(None, lambda: None)
            assert not far.heard
            return far

        ends.add(net.run_until_complete(kill()).over[0])
        net.close()
    assert ends == {"eof", "ConnectionResetError"}


def test_nobody_listening_refuses() -> None:
    """A connection to a port where nobody listens is refused."""
    net = SimNet(random.Random(1))
    with contextlib.closing(net), pytest.raises(ConnectionRefusedError):
        net.run_until_complete(net.create_connection(End, "127.0.0.1", 1))

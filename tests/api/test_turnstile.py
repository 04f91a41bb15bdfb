"""The turnstile: who shows bad keys goes on in turn, so many a second, and holds nobody else up."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tallygate.api.server import HttpServer
from tallygate.api.turnstile import Turnstile
from tallygate.config import EdgeSettings
from tests.api.test_gate import BAD, DEADLINE_S, GOOD, House, request
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import Callable


class Beats:
    """Time that goes on by beats, when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.waits: list[float] = []

    def call_later(self, wait_s: float, call: Callable[[], None]) -> None:
        """Keep a call for the next beat."""
        self.waits.append(wait_s)
        self.due.append(call)

    def pass_one(self) -> None:
        """Let a beat pass."""
        due, self.due = self.due, []
        for call in due:
            call()


class Crowd:
    """Connections of which each shows a bad key whenever it may, and how many each has shown."""

    def __init__(self, turnstile: Turnstile, size: int) -> None:
        self.turnstile = turnstile
        self.shown = [0] * size

    def show(self, number: int) -> None:
        """Show one bad key after the other, until told to wait."""
        while True:
            self.shown[number] += 1
            if not self.turnstile.take():
                break
        self.turnstile.wait(lambda: self.show(number))


@pytest.mark.parametrize(("per_s", "beats"), [(500, 100), (1000, 100), (40, 40), (1, 1)])
def test_so_many_a_second_in_turn(per_s: int, beats: int) -> None:
    """However many try, in the long run so many keys a second are shown as is set, by all of them in turn."""
    time = Beats()
    crowd = Crowd(Turnstile(per_s, time.call_later), 64)
    for number in range(64):
        crowd.show(number)
    before = sum(crowd.shown)
    for _ in range(10 * beats):
        time.pass_one()

    assert set(time.waits) == {1 / beats}
    assert 64 <= before <= 64 + per_s // beats
    assert 9 * per_s - 64 <= sum(crowd.shown) - before <= 10 * per_s
    assert max(crowd.shown) - min(crowd.shown) <= 1 + per_s // beats


def test_one_who_errs_alone_does_not_wait() -> None:
    """A few bad keys, with nobody else trying, are let go on at once; without any, no time is kept."""
    time = Beats()
    turnstile = Turnstile(500, time.call_later)
    for _ in range(3):
        assert [turnstile.take() for _ in range(5)] == [True] * 5
        time.pass_one()
    assert not turnstile.take() or time.due
    for _ in range(3):
        time.pass_one()

    assert time.due == []
    assert turnstile.take()


def test_what_came_at_once_is_forgiven_after_a_second() -> None:
    """Keys that came together, more than could be stopped, delay later ones by a second at most."""
    time = Beats()
    turnstile = Turnstile(500, time.call_later)
    for _ in range(100_000):
        turnstile.take()
    gone: list[int] = []
    turnstile.wait(lambda: gone.append(1))
    for _ in range(100):
        time.pass_one()
    assert gone == []
    time.pass_one()

    assert gone == [1]
    assert len(turnstile) == 0


LONG_WAYS = {
    "the short way": {},
    "the long way": {"Origin": "https://page.example"},
}


@pytest.mark.parametrize("target", ["/keyed", "/keyed?a=b"])
@pytest.mark.parametrize("headers", LONG_WAYS.values(), ids=LONG_WAYS)
async def test_who_tries_waits_and_who_knows_does_not(target: str, headers: dict[str, str]) -> None:
    """After its bad key a connection is read again only in its turn; a good key on another is served meanwhile."""
    house = House()
    time = Beats()
    turnstile = Turnstile(1, time.call_later)
    server = HttpServer(house.edge, gate=house.gate, turnstile=turnstile, sweep_s=60)
    port = await server.start("127.0.0.1", 0)
    try:
        tries = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, writer in tries:
            writer.write(request(target, BAD, b"", **headers))
            assert b" 401 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), DEADLINE_S)
            await reader.readuntil(b"}}")
        writer.write(request(target, BAD, b"", **headers))  # the second waits: the first had the only turn
        await until(lambda: len(turnstile) == 1)
        good_reader, good_writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(10):
            good_writer.write(request(target, GOOD))
            assert b" 200 " in await asyncio.wait_for(good_reader.readuntil(b"\r\n"), DEADLINE_S)
            await good_reader.readuntil(b"}")
        was_held_back = len(turnstile) == 1 and not reader._buffer  # type: ignore[attr-defined]
        time.pass_one()
        time.pass_one()
        answer = await asyncio.wait_for(reader.readuntil(b"}}"), DEADLINE_S)
        for _, each in (*tries, (good_reader, good_writer)):
            each.close()
    finally:
        await server.close()

    assert was_held_back
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert house.served == ["/keyed"] * 10


async def test_callers_of_a_proxy_do_not_wait_for_each_other() -> None:
    """A connection of a trusted proxy goes on at once, whatever keys come over it: others' good ones come next."""
    house = House(EdgeSettings(trusted_proxies=(ip_network("127.0.0.0/8"),)))
    turnstile = Turnstile(1, Beats().call_later)
    server = HttpServer(house.edge, gate=house.gate, turnstile=turnstile, sweep_s=60)
    port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            writer.write(request("/keyed", BAD))
            await asyncio.wait_for(reader.readuntil(b"}}"), DEADLINE_S)
        writer.write(request("/keyed", GOOD, Connection="close"))
        answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
    finally:
        await server.close()

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"]
    assert len(turnstile) == 0

"""Which connection serves whom: reuse, staleness, the bound and the line of those who wait."""

import asyncio
from dataclasses import replace

import pytest

from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.connection_errors import (
    ConnectError,
    ConnectionLostError,
    NoFreeConnectionError,
)
from tallygate.network.lane import Lane, LaneLimits
from tallygate.network.origin import Origin
from tests.network.scripted_server import Peer, Server, answer, answers, client, serve, turns

EVERY_LOOP = True
OK = answer(b"ok")


async def call(http: HttpClient, server: Server, *, fresh: bool = False) -> bool:
    """Make a whole call and tell whether its connection had served before."""
    got = await http.post(server.origin(), b"/", b"", b"{}", fresh=fresh)
    assert await got.read_all(2) == b"ok"
    return got.reused


async def test_connection_is_reused() -> None:
    """Calls one after the other share a connection."""
    async with serve(answers(OK, OK, OK)) as server, client() as http:
        assert [await call(http, server) for _ in range(3)] == [False, True, True]
        assert (server.accepted, repr(http)) == (1, "<HttpClient 0 busy, 1 idle>")


async def test_connection_comes_back_without_being_read() -> None:
    """An answer that has come whole frees its connection before anybody reads it, once."""
    async with serve(answers(OK, OK)) as server, client() as http:
        got = await http.get(server.origin(), b"/")
        while not got.ended:
            await turns(1)
        assert repr(http) == "<HttpClient 0 busy, 1 idle>"
        assert await call(http, server)
        assert await got.read_all(2) == b"ok"
        assert repr(http) == "<HttpClient 0 busy, 1 idle>"


async def test_fresh_connection() -> None:
    """A call that wants a fresh connection leaves the idle one for others."""
    async with serve(answers(OK, OK)) as server, client() as http:
        assert not await call(http, server)
        assert not await call(http, server, fresh=True)
        assert (server.accepted, repr(http)) == (2, "<HttpClient 0 busy, 2 idle>")


async def test_fresh_connection_at_the_bound() -> None:
    """Where no more may be opened, a fresh connection takes the place of an idle one."""
    async with serve(answers(OK)) as server, client(connections_max=1) as http:
        assert not await call(http, server)
        assert not await call(http, server, fresh=True)
        assert (server.accepted, repr(http)) == (2, "<HttpClient 0 busy, 1 idle>")


async def test_last_used_is_first_reused() -> None:
    """Of the idle connections the one that was used last serves next."""
    first_gone = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()
        first_gone.set()

    async with serve(first, answers(OK, OK)) as server, client() as http:
        await call(http, server)
        await call(http, server, fresh=True)
        assert await call(http, server)  # The first one's script has no second answer.
        assert not first_gone.is_set()


async def test_server_closes_an_idle_connection() -> None:
    """A connection that its server closes while idle is dropped at once, and not used again."""

    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serve(closing, answers(OK)) as server, client() as http:
        assert not await call(http, server)
        while "1 idle" in repr(http):
            await turns(1)
        assert not await call(http, server)


async def test_server_speaks_on_an_idle_connection() -> None:
    """A connection on which bytes come while idle is dropped at once, and not used again."""

    async def talking(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await asked.wait()
        await peer.send(answer(b"smuggled"))
        await peer.gone()

    asked = asyncio.Event()
    async with serve(talking, answers(OK)) as server, client() as http:
        assert not await call(http, server)
        asked.set()
        while "1 idle" in repr(http):
            await turns(1)
        assert not await call(http, server)


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_server_closes_upon_reuse(end: str) -> None:
    """A reused connection that ends before any byte says just that, and nothing is retried."""

    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if end == "reset":
            peer.reset()

    async with serve(closing) as server, client() as http:
        assert not await call(http, server)
        with pytest.raises(ConnectionLostError) as lost:
            await call(http, server)
        assert (
            lost.value.reused,
            lost.value.any_byte,
            lost.value.body_byte,
        ) == (True, False, False)
        assert (server.accepted, repr(http)) == (1, "<HttpClient 0 busy, 0 idle>")


async def test_stale_connection_is_not_used() -> None:
    """A connection that has been idle for longer than allowed is closed instead of used."""
    async with serve(answers(OK)) as server, client(idle_s_max=-1) as http:
        assert [await call(http, server) for _ in range(2)] == [False, False]
        assert server.accepted == 2


async def test_stale_connection_is_closed_meanwhile() -> None:
    """While calls are under way, connections that have been idle for too long are closed."""
    closed = asyncio.Event()

    async def first(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()
        closed.set()

    async def second(peer: Peer) -> None:
        await peer.request()
        await closed.wait()
        await peer.send(OK)
        await peer.gone()

    often = Timeouts(connect_s=60, first_byte_s=60, idle_s=0.1, total_s=60)
    async with serve(first, second) as server, client(often, idle_s_max=-1) as http:
        await call(http, server)
        await call(http, server, fresh=True)
        assert server.accepted == 2


async def test_bound_and_line() -> None:
    """Beyond the bound callers wait, and are served in the order in which they came."""
    served: list[int] = []

    async def numbered(number: int) -> None:
        got = await http.post(server.origin(), b"/", b"", b"{}", on_sent=lambda: served.append(number))
        assert await got.read_all(2) == b"ok"

    async with serve(answers(*[OK] * 9)) as server, client(connections_max=2) as http:
        tasks = [asyncio.ensure_future(numbered(number)) for number in range(9)]
        await turns(1)
        assert repr(http) == "<HttpClient 2 busy, 0 idle, 7 waiting>"
        await asyncio.gather(*tasks)
        # The first two open a connection each, and either may be open first.
        assert [number for number in served if number > 1] == list(range(2, 9))
        assert (len(served), server.accepted) == (9, 2)


@pytest.mark.parametrize("fresh", [False, True])
async def test_place_of_a_lost_connection_goes_to_who_waits(fresh: bool) -> None:
    """Who waits gets the place of a connection that is lost, or is not fresh, and opens anew."""
    go = asyncio.Event()

    async def losing(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        if fresh:
            await peer.send(OK)
            await peer.gone()

    async with serve(losing, answers(OK)) as server, client(connections_max=1) as http:
        first = asyncio.ensure_future(call(http, server))
        await turns(1)
        second = asyncio.ensure_future(call(http, server, fresh=fresh))
        await turns(1)
        go.set()
        await asyncio.gather(first, return_exceptions=True)
        assert not await second
        assert server.accepted == 2


async def test_promised_connection_dies() -> None:
    """Who is promised a connection that dies before it is used opens another in its place."""
    async with serve(answers(OK), answers(OK)) as server, client(connections_max=1) as http:
        first = await http.get(server.origin(), b"/")
        assert await first.read_all(2) == b"ok"
        lane = http._lanes[server.origin()]
        connection = lane.take_idle(0)
        assert connection is not None
        second = asyncio.ensure_future(call(http, server))
        await turns(1)
        lane.give_back(connection)
        connection.eof_received()
        assert not await second
        assert repr(http) == "<HttpClient 0 busy, 1 idle>"


async def test_wait_counts_toward_the_connect_timeout() -> None:
    """Who waits for a place for longer than the connect timeout is told that nothing was sent."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await release.wait()
        await peer.send(OK)
        await peer.gone()

    async with serve(slow) as server, client(connections_max=1) as http:
        first = asyncio.ensure_future(call(http, server))
        await arrived.wait()
        http._timeouts = replace(http._timeouts, connect_s=0.05)  # The first has its place, however slow it was.
        with pytest.raises(NoFreeConnectionError):
            await call(http, server)
        release.set()
        assert not await first


async def test_refused() -> None:
    """Where nobody listens, connecting fails, nothing was sent and no place is lost."""
    async with serve(answers(OK)) as server:
        pass
    async with client(connections_max=1) as http:
        for _ in range(2):
            with pytest.raises(ConnectError):
                await call(http, server)
        assert http._lanes == {}


async def test_name_that_no_dns_can_hold() -> None:
    """A host name that cannot be looked up is a failure to connect like any other."""
    async with client() as http:
        with pytest.raises(ConnectError):
            await http.get(Origin("http", "a..b", 80), b"/")


async def test_lane_without_connections_is_forgotten() -> None:
    """An origin that is not used any more takes no memory."""

    async def closing(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serve(closing) as server, client() as http:
        await call(http, server)
        while http._lanes:
            await turns(1)


async def test_cancelled_in_line() -> None:
    """Who is cancelled while waiting, or just as a place comes, takes no place from others."""
    async with serve(answers(*[OK] * 9)) as server, client(connections_max=1) as http:
        await call(http, server)
        for passed_on in (False, True):
            lane = http._lanes[server.origin()]
            connection = lane.take_idle(0)
            assert connection is not None
            waiting = asyncio.ensure_future(call(http, server))
            behind = asyncio.ensure_future(call(http, server))
            await turns(1)
            assert repr(http) == "<HttpClient 1 busy, 0 idle, 2 waiting>"
            if passed_on:
                lane.give_back(connection)
            waiting.cancel()
            if not passed_on:
                lane.give_back(connection)
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await behind
            assert repr(http) == "<HttpClient 0 busy, 1 idle>"
        assert server.accepted == 1


async def test_late_word_of_a_lane_that_is_gone() -> None:
    """A lane that tells a second time that it is unused does not take its successor along."""
    async with serve(answers(OK)) as server, client() as http:
        await call(http, server)
        lane = http._lanes[server.origin()]
        gone = Lane(server.origin(), None, LaneLimits(1, 1, 1), http._forget_lane)
        gone.detach(lane.idle[0])
        assert http._lanes[server.origin()] is lane

"""Calls that are cancelled, abandoned or closed, wherever they are: no place is ever lost."""

import asyncio

import pytest

from tallygate.network.client import HttpClient
from tallygate.network.connection import PIECE_BYTES
from tallygate.network.connection_errors import ClientClosedError
from tests.network.scripted_server import PATIENT, Peer, answer, answers, client, make_tls, serve, turns, wait_for_leave

EVERY_LOOP = True
OK = answer(b"ok")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


async def test_abandon_closes_the_connection() -> None:
    """An answer that is abandoned in mid-body closes its connection at once."""
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD, b"o")
        await peer.gone()
        closed.set()

    async with serve(script) as server, client() as http:
        got = await http.get(server.origin(), b"/")
        got.abandon()
        got.abandon()
        assert repr(http) == "<HttpClient 0 busy, 0 idle>"
        await closed.wait()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("size", [2, 30 * PIECE_BYTES])
async def test_cancelled_at_any_turn(scheme: str, size: int) -> None:
    """A call that is cancelled at any turn of the loop leaves no place taken."""
    server_tls, tls = make_tls("127.0.0.1")

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(HEAD, b"o")
            await turns(2)
            await peer.send(b"k")

    async def call() -> None:
        got = await http.post(server.origin(scheme), b"/", b"", bytes(size))
        assert await got.read_all(2) == b"ok"

    async with (
        serve(script, tls=server_tls if scheme == "https" else None) as server,
        client(tls=tls) as http,
    ):
        finished = 0
        for count in range(400):
            task = asyncio.ensure_future(call())
            await turns(count)
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            assert result is None or isinstance(result, asyncio.CancelledError)
            assert "<HttpClient 0 busy, " in repr(http)
            finished = finished + 1 if result is None else 0
            if finished == 3:
                break
        await call()


@pytest.mark.parametrize("stage", ["connect", "upload", "head", "body"])
async def test_cancelled_while_waiting(stage: str) -> None:
    """A call that is cancelled while it waits for the upstream closes the connection."""
    reached = asyncio.Event()
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        if stage == "head":
            await peer.request()
        elif stage == "body":
            await peer.request()
            await peer.send(HEAD)
        reached.set()
        await peer.gone()
        closed.set()

    async def call() -> None:
        size = 50_000_000 if stage == "upload" else 0
        scheme = "https" if stage == "connect" else "http"
        got = await http.post(server.origin(scheme), b"/", b"", bytes(size))
        await got.read()

    async with serve(script) as server, client() as http:
        task = asyncio.ensure_future(call())
        await reached.wait()
        await turns(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(http) == "<HttpClient 0 busy, 0 idle>"
        await closed.wait()


async def test_close() -> None:
    """Closing fails what is under way, in line or new, and leaves no connection open."""
    async with serve(answers(OK), wait_for_leave) as server:
        http = HttpClient(timeouts=PATIENT, connections_max=2)
        await (await http.get(server.origin(), b"/")).read_all(2)
        first = asyncio.ensure_future(http.get(server.origin(), b"/", fresh=True))
        second = asyncio.ensure_future(http.get(server.origin(), b"/", fresh=True))
        third = asyncio.ensure_future(http.get(server.origin(), b"/"))
        while len(http._lanes[server.origin()].calls) < 2:
            await turns(1)
        await http.close()
        for call in (first, second, third):
            with pytest.raises(ClientClosedError):
                await call
        with pytest.raises(ClientClosedError):
            await http.get(server.origin(), b"/")
        assert (repr(http), http._lanes) == ("<HttpClient 0 busy, 0 idle>", {})
        await http.close()


async def test_close_while_connecting() -> None:
    """A connection that opens after the client was closed is closed and serves nobody."""
    async with serve(wait_for_leave) as server:
        http = HttpClient(timeouts=PATIENT)
        call = asyncio.ensure_future(http.get(server.origin(), b"/"))
        await turns(1)
        await http.close()
        with pytest.raises(ClientClosedError):
            await call
        while http._lanes:
            await turns(1)

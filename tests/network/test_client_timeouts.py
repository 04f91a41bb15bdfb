"""A call's timeouts over real sockets, and the one timer that looks after them."""

import asyncio

import pytest

from tallygate.network.answer import Answer
from tallygate.network.client import SWEEP_S_MAX, SWEEP_S_MIN, HttpClient, Timeouts
from tallygate.network.connection_errors import (
    ConnectTimeoutError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    TotalTimeoutError,
)
from tests.network.scripted_server import PATIENT, Peer, Server, answer, client, serve, turns, wait_for_leave

EVERY_LOOP = True
OK = answer(b"ok")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
SHORT_S = 0.05


async def test_connect_timeout() -> None:
    """A TLS handshake that is never answered is a connect timeout."""
    times = Timeouts(connect_s=SHORT_S, first_byte_s=60, idle_s=60, total_s=60)
    async with serve(Peer.gone) as server, client(times) as http:
        with pytest.raises(ConnectTimeoutError):
            await http.get(server.origin("https"), b"/")
        assert http._lanes == {} or repr(http) == "<HttpClient 0 busy, 0 idle>"


async def test_first_byte_timeout_before_the_headers() -> None:
    """Silence upon the request is a first-byte timeout, and the connection is closed."""
    times = Timeouts(connect_s=60, first_byte_s=SHORT_S, idle_s=60, total_s=60)
    async with serve(wait_for_leave) as server, client(times) as http:
        with pytest.raises(FirstByteTimeoutError):
            await http.get(server.origin(), b"/")


async def get_before_any_sweep(http: HttpClient, server: Server, times: Timeouts) -> Answer:
    """Call with these timeouts, which nobody looks after yet: on a slow machine they pass before the headers come."""
    http._sweep_s = PATIENT.total_s
    await (await http.get(server.origin(), b"/")).read_all(2)  # Opens the connection that the next call has.
    http._timeouts = times
    return await http.get(server.origin(), b"/")


def begin_to_sweep(http: HttpClient) -> None:
    """Have the timer look after the timeouts from now on."""
    assert http._sweeper is not None
    http._sweeper.cancel()
    http._sweep_s = SWEEP_S_MIN
    http._sweep()


async def test_first_byte_timeout_after_the_headers() -> None:
    """Headers are not the first byte: silence after them is a first-byte timeout too."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(HEAD)
        await peer.gone()

    times = Timeouts(connect_s=60, first_byte_s=SHORT_S, idle_s=60, total_s=60)
    async with serve(script) as server, client() as http:
        got = await get_before_any_sweep(http, server, times)
        begin_to_sweep(http)
        with pytest.raises(FirstByteTimeoutError):
            await got.read()


@pytest.mark.parametrize(
    ("times", "error"),
    [
        (Timeouts(connect_s=60, first_byte_s=60, idle_s=SHORT_S, total_s=60), IdleTimeoutError),
        (Timeouts(connect_s=60, first_byte_s=60, idle_s=60, total_s=SHORT_S), TotalTimeoutError),
    ],
)
async def test_timeouts_within_the_body(times: Timeouts, error: type[Exception]) -> None:
    """Silence in mid-body, and a call that takes too long, each have their error."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(HEAD, b"o")
        await peer.gone()

    async with serve(script) as server, client() as http:
        got = await get_before_any_sweep(http, server, times)
        assert await got.read() == b"o"
        begin_to_sweep(http)
        with pytest.raises(error):
            await got.read()


async def test_sweeper_rests() -> None:
    """The timer runs while a call is under way and stops after the last."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.send(HEAD)
            await go_on.wait()
            await peer.send(b"ok")
        await peer.gone()

    async with serve(script) as server, client() as http:
        http._sweep_s = SWEEP_S_MIN
        for _ in range(2):
            go_on.clear()
            got = await http.get(server.origin(), b"/")
            assert http._sweeper is not None
            go_on.set()
            await got.read_all(2)
            while http._sweeper is not None:
                await turns(1)


@pytest.mark.parametrize(("shortest_s", "period_s"), [(1e-3, SWEEP_S_MIN), (1, 0.1), (60, SWEEP_S_MAX)])
def test_sweep_period(shortest_s: float, period_s: float) -> None:
    """The sweep's period is a tenth of the smallest timeout, within bounds."""
    assert HttpClient(timeouts=Timeouts(99, 99, shortest_s, 99))._sweep_s == period_s


def test_timeouts_are_above_zero() -> None:
    """A timeout of zero is refused."""
    with pytest.raises(ValueError):
        Timeouts(1, 1, 0, 1)

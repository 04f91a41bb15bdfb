"""The guarded edge: slow and malformed clients over real sockets."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.api.protocol import HEAD_BYTES_MAX
from tallygate.api.server import HttpServer, PortBusyError
from tests.relay.world import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST /echo HTTP/1.1\r\nHost: here\r\n"
DEADLINE_S = 120.0


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the request's body."""
    del scope
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(app: Any = echo, **options: Any) -> AsyncIterator[tuple[int, HttpServer]]:
    """A server on a free port."""
    server = HttpServer(app, **options)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port, server
    finally:
        await server.close()


async def answer_to(port: int, *pieces: bytes) -> bytes:
    """Send pieces and return all that comes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"X-Nul: a\0b\r\n\r\n",
        HEAD + b"X-Odd : b\r\n\r\n",
        HEAD + b"Host: there\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: here\r\n\r\n",
        b"CONNECT here:443 HTTP/1.1\r\nHost: here\r\n\r\n",
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Host: there\r\n\r\n",
        HEAD.replace(b"\r\n", b"\n") + b"\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=[
        "two framings",
        "two lengths",
        "negative",
        "nul",
        "space",
        "two hosts",
        "no host",
        "2.0",
        "CONNECT",
        "two hosts in 1.0",
        "bare LF",
        "TLS",
        "HTTP/2",
    ],
)
async def test_malformed_requests_are_refused_in_our_shape(data: bytes) -> None:
    """What is not plain HTTP/1.1 gets a 400 with a JSON error, and the connection ends."""
    async with serving() as (port, _):
        answer = await answer_to(port, data)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"type":"invalid_request_error"' in answer
    assert b'"code":"invalid_http"' in answer


async def stream(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer in two pieces, of a length that is not told before."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"one,", "more_body": True})
    await send({"type": "http.response.body", "body": b"two", "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("app", [stream, echo])
async def test_http_1_0_gets_what_it_can_read(app: Any) -> None:
    """A caller of HTTP/1.0 gets a stream without chunks, to the connection's end, and no `100 Continue`."""
    head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: here\r\n", b"")
    async with serving(app) as (port, _):
        answer = await answer_to(port, head + b"Expect: 100-continue\r\nContent-Length: 7\r\n\r\none,two")

    start, _, body = answer.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 200 ")
    assert (b"content-length: 7" in start, b"transfer-encoding" in start) == (app is echo, False)
    assert body == b"one,two"


async def test_another_protocol_is_declined() -> None:
    """Who offers another protocol is served with this one; if a body would be lost, the offer is refused."""
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    async with serving() as (port, _):
        served = await answer_to(port, HEAD.replace(b"POST", b"GET") + offer + b"\r\n")
        refused = await answer_to(port, HEAD + offer + b"Content-Length: 2\r\n\r\nhi")

    assert served.startswith(b"HTTP/1.1 200 ")
    assert refused.startswith(b"HTTP/1.1 400 ")
    assert b'"unsupported_header"' in refused


async def test_many_requests_may_come_at_once() -> None:
    """Requests that are sent without waiting are each counted by itself, however many come in one piece."""
    one = HEAD + b"X-Long: " + b"a" * 1000 + b"\r\nContent-Length: 4\r\n\r\n"
    async with serving() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(one + b"<%02d>" % number for number in range(100)))
        for number in range(100):
            answer = await asyncio.wait_for(reader.readuntil(b"<%02d>" % number), DEADLINE_S)
            assert answer.startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_an_endless_head_is_refused() -> None:
    """A head above the limit gets a 431 before it ends, so that it cannot fill memory."""
    async with serving() as (port, _):
        answer = await answer_to(port, HEAD, *[b"X-Long: " + b"a" * 8000 + b"\r\n"] * (HEAD_BYTES_MAX // 8000 + 1))

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("big", [b"X-Long: " + b"a" * HEAD_BYTES_MAX + b"\r\n", b"A: b\r\n" * (HEAD_BYTES_MAX // 6)])
async def test_a_large_head_is_refused_though_it_comes_at_once(big: bytes) -> None:
    """A complete head above the limit gets a 431, and its request is not served."""
    served = False

    async def note(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal served
        served = True
        await echo(scope, receive, send)

    async with serving(note) as (port, _):
        answer = await answer_to(port, HEAD + big + b"Content-Length: 0\r\n\r\n")

    assert not served
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


async def test_headers_after_the_body_are_dropped() -> None:
    """Trailers of a chunked request reach no handler and fill no memory."""
    seen: list[list[tuple[bytes, bytes]]] = []

    async def note(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        seen.append(scope["headers"])

    async with serving(note) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"hi"), DEADLINE_S)
        writer.close()

    assert seen == [[(b"host", b"here"), (b"transfer-encoding", b"chunked")]]


def connections_of(server: HttpServer) -> list[Any]:
    """Return the guarded connections of a server."""
    return list(server._state.connections)


async def lose_patience(server: HttpServer, sent: bytes) -> None:
    """Look after the patience with a caller only once all that it has sent is here, however slow the machine is."""
    await until(lambda: [connection._message_bytes for connection in connections_of(server)] == [len(sent)])
    look_from_now_on(server)


def look_from_now_on(server: HttpServer) -> None:
    """Look after everybody's patience again and again."""
    assert server._sweeper is not None
    server._sweeper.cancel()
    server._sweep_s = 0.02
    server._sweep()


@pytest.mark.parametrize(
    "sent", [HEAD[:20], HEAD + b"Content-Length: 100\r\n\r\nabc"], ids=["in its head", "in its body"]
)
async def test_what_does_not_come_to_its_end_is_ended(sent: bytes) -> None:
    """A client that stops in the middle of its head, or of its body, gets a 408 when patience is over."""
    async with serving(head_s_max=0.05, body_s_max=0.05, sweep_s=3600) as (port, server):
        answering = asyncio.ensure_future(answer_to(port, sent))
        await lose_patience(server, sent)
        answer = await answering

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed() -> None:
    """A client that only connects is let go without a word."""
    async with serving(head_s_max=0.05, sweep_s=0.02) as (port, _):
        assert await answer_to(port) == b""


@pytest.mark.parametrize(
    "begun",
    [
        HEAD + b"X: ",
        HEAD + b"Content-Length: 9999\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
)
async def test_who_sends_byte_by_byte_is_ended_all_the_same(begun: bytes) -> None:
    """Patience is with a whole head, or a whole body: a byte now and then buys no more of it."""
    async with serving(head_s_max=0.1, body_s_max=0.1, sweep_s=3600) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answering = asyncio.ensure_future(asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S))
        writer.write(begun)
        await lose_patience(server, begun)
        while not answering.done():
            await asyncio.wait({answering}, timeout=0.005)
            writer.write(b"0")
        answer = await answering
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_patience_is_not_asked_of_a_caller_who_waits_for_us() -> None:
    """While an answer is being made, no timeout of the request's arrival applies."""
    go_on = asyncio.Event()

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    async with serving(slow, head_s_max=0.02, body_s_max=0.02, sweep_s=3600) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nhi")
        await until(lambda: [connection.waiting_since_s for connection in connections_of(server)] == [None])
        sweeps = 0
        sweep = server._sweep

        def count_sweeps() -> None:
            nonlocal sweeps
            sweeps += 1
            if sweeps > 10:
                go_on.set()
            sweep()

        server._sweep = count_sweeps  # type: ignore[method-assign]
        look_from_now_on(server)
        answer = await asyncio.wait_for(reader.readuntil(b"hi"), DEADLINE_S)
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_connections_are_kept_alive() -> None:
    """Two requests, one after the other, are served on one connection."""
    async with serving() as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in (b"one", b"two"):
            writer.write(HEAD + b"Content-Length: 3\r\n\r\n" + body)
            assert (await asyncio.wait_for(reader.readuntil(body), DEADLINE_S)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_lost_connection_leaves_nothing(version: bytes) -> None:
    """What has served a connection is gone with it, without waiting for the garbage to be collected."""
    gc.collect()
    gc.disable()
    try:
        async with serving() as (port, server):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD.replace(b"HTTP/1.1", version) + b"Content-Length: 2\r\n\r\nhi")
            await asyncio.wait_for(reader.readuntil(b"hi"), DEADLINE_S)
            connections = [weakref.ref(connection) for connection in server._state.connections]
            writer.close()
            await until(lambda: not server._state.connections and not server._state.tasks)
            await until(lambda: not any(connection() for connection in connections))
    finally:
        gc.enable()


async def test_a_lost_connection_is_told_at_once() -> None:
    """Whoever serves a caller that closes its connection is told, without waiting for anything."""
    lost = asyncio.Event()
    here = asyncio.Event()

    async def wait(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del receive, send
        scope["state"]["connection"].on_lost = lost.set
        here.set()
        await lost.wait()

    async with serving(wait) as (port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
        await asyncio.wait_for(here.wait(), DEADLINE_S)
        writer.close()

        await asyncio.wait_for(lost.wait(), DEADLINE_S)


async def test_a_busy_port_is_a_clear_error() -> None:
    """Listening where somebody listens already fails with the address in the message."""
    async with serving() as (port, _):
        with pytest.raises(PortBusyError, match=f"127.0.0.1:{port}"):
            await HttpServer(echo).start("127.0.0.1", port)


async def test_stopping_lets_answers_end() -> None:
    """After the listener is closed, an answer under way still reaches its caller, and no new one is taken."""
    go_on = asyncio.Event()
    here = asyncio.Event()

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        here.set()
        await go_on.wait()
        await echo(scope, receive, send)

    async with serving(slow) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 3\r\n\r\nend")
        await asyncio.wait_for(here.wait(), DEADLINE_S)
        server.stop_accepting()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        go_on.set()

        assert (await asyncio.wait_for(reader.read(), DEADLINE_S)).endswith(b"end")
        writer.close()

"""The guarded edge: slow and malformed clients over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.api.server import HEAD_BYTES_MAX, HttpServer, PortBusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST /echo HTTP/1.1\r\nHost: here\r\n"
DEADLINE_S = 10.0


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
async def serving(app: Any = echo, **options: float) -> AsyncIterator[tuple[int, HttpServer]]:
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
        HEAD.replace(b"\r\n", b"\n") + b"\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["two framings", "two lengths", "negative", "nul", "space", "bare LF", "TLS", "HTTP/2"],
)
async def test_malformed_requests_are_refused_in_our_shape(data: bytes) -> None:
    """What is not plain HTTP/1.1 gets a 400 with a JSON error, and the connection ends."""
    async with serving() as (port, _):
        answer = await answer_to(port, data)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"type":"invalid_request_error"' in answer


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


async def test_a_head_that_does_not_come_to_its_end_is_ended() -> None:
    """A client that stops in the middle of its head gets a 408 when patience is over."""
    async with serving(head_s_max=0.05, sweep_s=0.02) as (port, _):
        answer = await answer_to(port, HEAD[:20])

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_connection_that_says_nothing_is_closed() -> None:
    """A client that only connects is let go without a word."""
    async with serving(head_s_max=0.05, sweep_s=0.02) as (port, _):
        assert await answer_to(port) == b""


async def test_a_body_that_does_not_come_is_ended() -> None:
    """A client that stops in the middle of its body gets a 408 when patience is over."""
    async with serving(body_s_max=0.05, sweep_s=0.02) as (port, _):
        answer = await answer_to(port, HEAD + b"Content-Length: 100\r\n\r\nabc")

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_patience_is_not_asked_of_a_caller_who_waits_for_us() -> None:
    """While an answer is being made, no timeout of the request's arrival applies."""
    go_on = asyncio.Event()

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    async with serving(slow, head_s_max=0.02, body_s_max=0.02, sweep_s=0.01) as (port, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nhi")
        sweeps = 0
        sweep = server._sweep

        def count_sweeps() -> None:
            nonlocal sweeps
            sweeps += 1
            if sweeps > 10:
                go_on.set()
            sweep()

        server._sweep = count_sweeps  # type: ignore[method-assign]
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

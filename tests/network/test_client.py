"""Calls over real sockets: what goes on the wire, lost connections, TLS, back-pressure."""

import asyncio
import hashlib
import socket

import pytest

from tallygate.network.connection import PIECE_BYTES
from tallygate.network.connection_errors import (
    ConnectError,
    ConnectionLostError,
    MalformedAnswerError,
)
from tests.network.scripted_server import Peer, answer, answers, client, make_tls, serve, turns, wait_for_leave

EVERY_LOOP = True
OK = answer(b"ok")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


async def test_the_sending_is_told_once_a_connection_carries_it() -> None:
    """`on_sent` is called when the request goes out, and not for a call that finds no connection."""
    told: list[str] = []
    async with serve(answers(OK)) as server, client() as http:
        origin = server.origin()
        await http.post(origin, b"/", b"", b"", on_sent=lambda: told.append("sent"))
        assert told == ["sent"]
    async with client() as http:
        with pytest.raises(ConnectError):
            await http.post(origin, b"/", b"", b"", on_sent=lambda: told.append("again"))
        assert told == ["sent"]


async def test_request_on_the_wire() -> None:
    """A request goes out with the caller's header lines, a Host and its length, and no more."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        for _ in range(2):
            requests.append(await peer.request())
            await peer.send(OK)
        await peer.gone()

    async with serve(script) as server, client() as http:
        host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
        posted = await http.post(server.origin(), b"/v1/x?y=1", b"A: b\r\nC: d\r\n", b"body")
        assert (posted.status, await posted.read()) == (200, b"ok")
        await (await http.get(server.origin(), b"/v1/models", b"A: b\r\n")).read_all(2)
        assert requests == [
            b"POST /v1/x?y=1 HTTP/1.1\r\n" + host + b"Content-Length: 4\r\nA: b\r\nC: d\r\n\r\nbody",
            b"GET /v1/models HTTP/1.1\r\n" + host + b"A: b\r\n\r\n",
        ]


async def test_request_leaves_at_once() -> None:
    """Connections send small packets without delay."""
    async with serve(answers(OK)) as server, client() as http:
        await (await http.get(server.origin(), b"/")).read_all(2)
        connection = http._lanes[server.origin()].idle[0]
        assert connection._transport is not None
        opened = connection._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_answer_in_single_bytes() -> None:
    """A stream of single bytes, after two informational answers, arrives whole."""
    body = b"data: x\n\n" * 50
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + answer(body)

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            for i in range(len(raw)):
                await peer.send(raw[i : i + 1])
                await turns(1)
        await peer.gone()

    async with serve(script) as server, client() as http:
        for reused in (False, True):
            got = await http.post(server.origin(), b"/", b"", b"")
            assert (got.status, dict(got.headers)) == (200, {"content-length": str(len(body))})
            assert await got.read_all(len(body)) == body
            assert got.reused is reused


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary", b"308 Permanent"])
async def test_redirect_is_returned(status: bytes) -> None:
    """A redirect is an answer like any other and is not followed."""
    raw = answer(b"", b"Location: http://127.0.0.1:1/", status=status)
    async with serve(answers(raw)) as server, client() as http:
        got = await http.get(server.origin(), b"/")
        assert (got.status, got.headers["location"]) == (int(status[:3]), "http://127.0.0.1:1/")
        assert await got.read() == b""
        assert server.accepted == 1


async def test_stream_is_read_as_it_comes() -> None:
    """A piece of the body can be read before the next one is sent."""
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await seen.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.gone()

    async with serve(script) as server, client() as http:
        got = await http.post(server.origin(), b"/", b"", b"")
        assert await got.read() == b"one"
        seen.set()
        assert [await got.read(), await got.read()] == [b"two", b""]


@pytest.mark.parametrize(
    ("raw", "any_byte", "body"),
    [
        (b"", False, b""),
        (b"HTTP/1.1 2", True, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n", True, b""),
        (HEAD, True, b""),
        (HEAD + b"o", True, b"o"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", True, b"o"),
    ],
)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_connection_is_lost(raw: bytes, any_byte: bool, body: bytes, end: str) -> None:
    """A lost connection says whether any byte, and whether a byte of the body, had come."""
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        if b"\r\n\r\n" in raw and not raw.startswith(b"HTTP/1.1 100"):
            await read.wait()  # A reset makes the kernel forget what has not been read yet.
        elif end == "reset" and raw:
            return
        if end == "reset":
            peer.reset()

    async with serve(script) as server, client() as http:
        received: list[bytes] = []

        async def call() -> None:
            got = await http.post(server.origin(), b"/", b"", b"")
            if body:
                received.append(await got.read())
            read.set()
            await got.read()

        with pytest.raises(ConnectionLostError) as lost:
            await call()
        assert b"".join(received) == body
        assert (lost.value.reused, lost.value.any_byte) == (False, any_byte)
        assert lost.value.body_byte is bool(body)


async def test_body_to_the_end_of_the_connection() -> None:
    """A body without a length ends with the connection, which is not used again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k")

    async with serve(script) as server, client() as http:
        for _ in range(2):
            got = await http.get(server.origin(), b"/")
            assert await got.read_all(2) == b"ok"
        assert (server.accepted, repr(http)) == (2, "<HttpClient 0 busy, 0 idle>")


async def test_garbage() -> None:
    """What is not HTTP is an error of its own, and the connection is closed."""
    async with serve(answers(b"220 mail.example ESMTP\r\n")) as server, client() as http:
        with pytest.raises(MalformedAnswerError):
            await http.get(server.origin(), b"/")


async def test_tls() -> None:
    """Calls over TLS share connections, stream and carry large bodies like any other."""
    body = b"x" * (10 * PIECE_BYTES + 1)
    server_tls, tls = make_tls("127.0.0.1")

    async def script(peer: Peer) -> None:
        for _ in range(2):
            request = await peer.request()
            await peer.send(answer(request[-len(body) :]))
        await peer.gone()

    async with serve(script, tls=server_tls) as server, client(tls=tls) as http:
        for _ in range(2):
            got = await http.post(server.origin("https"), b"/", b"", body)
            assert await got.read_all(len(body)) == body
        assert (server.accepted, repr(http)) == (1, "<HttpClient 0 busy, 1 idle>")


@pytest.mark.parametrize("fault", ["name", "issuer", "plain"])
async def test_tls_is_checked(fault: str) -> None:
    """A wrong name, an unknown issuer or no TLS at all: no connection, and nothing was sent."""
    server_tls, tls = make_tls("other.example" if fault == "name" else "127.0.0.1")

    async def script(peer: Peer) -> None:
        assert fault == "plain"
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with (
        serve(script, tls=None if fault == "plain" else server_tls) as server,
        client(tls=None if fault == "issuer" else tls) as http,
    ):
        with pytest.raises(ConnectError):
            await http.get(server.origin("https"), b"/")


async def test_slow_reader_holds_the_upstream_back() -> None:
    """However much is sent, no more than the buffer and a read of the socket is held."""
    size, limit, read_bytes = 50_000_000, 100_000, 256 * 1024

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await peer.send(*[bytes(100_000)] * (size // 100_000))
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    async with serve(script) as server, client(buffer_bytes_max=limit) as http:
        got = await http.get(server.origin(), b"/")
        held_most = received = 0
        while received < size:
            await turns(5)
            held_most = max(held_most, got.buffered_bytes)
            received += len(await got.read())
        assert await got.read() == b""
        assert limit < held_most <= limit + read_bytes
        assert await (await http.get(server.origin(), b"/")).read_all(2) == b"ok"
        assert server.accepted == 1


async def test_large_upload_waits_for_a_slow_server() -> None:
    """A large body is not piled up for a server that does not read, and arrives whole."""
    body = bytes(range(256)) * 80_000
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"Content-Length: %d\r\n" % len(body) in head
        await go.wait()
        digest = hashlib.sha256(await peer.reader.readexactly(len(body))).hexdigest()
        await peer.send(answer(digest.encode()))
        await wait_for_leave(peer)

    async with serve(script) as server, client() as http:
        call = asyncio.ensure_future(http.post(server.origin(), b"/", b"", body))
        while not (calls := http._lanes and http._lanes[server.origin()].calls):
            await turns(1)
        (connection,) = calls
        while not connection._writing_paused:
            await turns(1)
        await turns(20)
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() <= 3 * PIECE_BYTES
        go.set()
        got = await call
        assert await got.read_all(64) == hashlib.sha256(body).hexdigest().encode()
        assert repr(http) == "<HttpClient 0 busy, 1 idle>"


async def test_answer_to_half_a_request() -> None:
    """An answer that comes before the body is out ends the upload; no reuse of the connection."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer(b"too large", status=b"413 Content Too Large"))
        await left.wait()

    left = asyncio.Event()
    async with serve(script) as server, client() as http:
        got = await http.post(server.origin(), b"/", b"", bytes(50_000_000))
        assert (got.status, await got.read_all(9)) == (413, b"too large")
        assert repr(http) == "<HttpClient 0 busy, 0 idle>"
        left.set()

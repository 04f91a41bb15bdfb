"""HTTP on the wire: connections kept, bodies framed, limits kept, nonsense refused."""

import ssl

import pytest
import trustme

from tallygate.devnet import Devnet, DevnetSettings
from tests.devnet.conftest import CHAT, HandClock, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import Wire, control


async def test_connections_are_kept(world: World) -> None:
    """Several answers, streamed and not, come on one connection."""
    wire = await Wire.open(world.url)
    for stream in (False, True, False):
        body = chat_body(stream=stream)
        await wire.send("POST", CHAT, world.sign(body), body)
        answer = await wire.receive()
        assert (answer.status, answer.complete) == (200, True)
    wire.leave()


async def test_a_refusal_keeps_the_connection(world: World) -> None:
    """After an error status the connection can be used again."""
    wire = await Wire.open(world.url)
    for _ in range(2):
        await wire.send("POST", CHAT, {}, b"{}")
        assert (await wire.receive()).status == 400
    wire.leave()


async def test_requests_may_come_ahead(world: World) -> None:
    """Requests sent before their turn are answered one after the other."""
    wire = await Wire.open(world.url)
    await wire.write(b"GET /v1/status HTTP/1.1\r\nHost: devnet\r\n\r\n" * 3)
    await wire.write(b"GET /v1/status HTTP/1.1\r\nHost: devnet\r\nConnection: close\r\n\r\n")
    assert (await wire.receive_raw()).count(b'{"status": "ok"}') == 4
    wire.leave()


async def test_chunked_bodies_are_read(world: World) -> None:
    """A body in chunks is the same body."""
    body = chat_body()
    headers = world.sign(body)
    lines = [f"POST {CHAT} HTTP/1.1", "host: devnet", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    wire = await Wire.open(world.url)
    await wire.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + chunks + b"0\r\n\r\n")
    assert b"200" in (await wire.receive_raw()).split(b"\r\n")[0]
    wire.leave()


async def test_expect_continue(world: World) -> None:
    """Who asks first is told to go on."""
    body = chat_body()
    headers = world.sign(body) | {"expect": "100-continue"}
    wire = await Wire.open(world.url)
    lines = [f"POST {CHAT} HTTP/1.1", "host: devnet", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    await wire.write("\r\n".join([*lines, "connection: close", "", ""]).encode())
    assert await wire.read_line() == b"HTTP/1.1 100 \r\n"
    await wire.write(body)
    assert b"HTTP/1.1 200" in await wire.receive_raw()
    wire.leave()


async def test_a_chunked_body_too_large_is_found_out(world: World) -> None:
    """The limit holds for bodies that do not tell their length."""
    wire = await Wire.open(world.url)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: devnet\r\ntransfer-encoding: chunked\r\n\r\n"
    await wire.write(head.encode())
    chunk = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)
    for _ in range(11):
        await wire.write(chunk)
    await wire.write(b"0\r\n\r\n")
    assert b"HTTP/1.1 413" in await wire.receive_raw()
    wire.leave()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_nonsense_is_refused(world: World, nonsense: bytes) -> None:
    """What is not HTTP, or has a head too large, gets a 4xx and the connection's end."""
    wire = await Wire.open(world.url)
    await wire.write(nonsense)
    assert (await wire.receive_raw()).startswith(b"HTTP/1.1 4")
    wire.leave()
    assert await control(world.url, "GET", "state")


@pytest.mark.parametrize("start", [b"", b"POST /v1/chat", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n12"])
async def test_half_a_request_is_no_call(world: World, start: bytes) -> None:
    """A client that leaves in the middle of its request leaves nothing behind."""
    wire = await Wire.open(world.url)
    await wire.write(start)
    wire.leave()
    assert await control(world.url, "GET", "state")
    await world.devnet.wait_idle()


async def test_tls(settings: DevnetSettings) -> None:
    """With a TLS context every URL is https and answers."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Devnet(settings, now_ns=HandClock(), tls=server) as devnet:
        assert devnet.nodes[0].url.startswith("https://")
        wire = await Wire.open(devnet.nodes[0].url, ssl=client)
        await wire.send("GET", "/v1/status")
        assert (await wire.receive()).status == 200
        wire.leave()

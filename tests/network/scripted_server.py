"""A raw TCP server that plays an upstream by a script, byte by byte, and a client to call it.

A script is an async function that is given one accepted connection: expect a request, send these
bytes, close, reset, wait. It knows no more of HTTP than where a request ends, so that it can send
whatever an upstream must not.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import trustme

from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.origin import Origin

# Long enough never to pass while a test runs.
PATIENT = Timeouts(connect_s=60, first_byte_s=60, idle_s=60, total_s=60)


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Wait for the head of a request."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Wait for a whole request."""
        head = await self.head()
        lines = head.lower().split(b"\r\n")
        sizes = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
        return head + await self.reader.readexactly(sum(sizes))

    async def send(self, *chunks: bytes) -> None:
        """Send bytes, waiting while the client does not read."""
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()

    def reset(self) -> None:
        """End the connection by RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Where the scripts are played; the n-th connection gets the n-th script, or the last."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.accepted = 0
        self.port = 0
        self._scripts = scripts
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._stopped = False

    def origin(self, scheme: str = "http") -> Origin:
        """Name the server as the client does."""
        return Origin(scheme, "127.0.0.1", self.port)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the next script to a new connection."""
        if self._stopped:  # It was being accepted as the listener closed.
            writer.transport.abort()
            return
        script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
        self.accepted += 1
        self._tasks[asyncio.ensure_future(self._play(script, Peer(reader, writer)))] = writer

    async def _play(self, script: Script, peer: Peer) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await script(peer)
        finally:
            peer.writer.close()
            with contextlib.suppress(OSError):
                await peer.writer.wait_closed()

    async def stop(self) -> None:
        """End what is still being played; a script's failed assertion fails the test."""
        self._stopped = True
        tasks = tuple(self._tasks)
        for task, writer in self._tasks.items():
            task.cancel()
            writer.close()  # A task that is cancelled before its first turn closes nothing.
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


@contextlib.asynccontextmanager
async def serve(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server for as long as the block lasts."""
    server = Server(scripts)
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


@contextlib.asynccontextmanager
async def client(
    timeouts: Timeouts = PATIENT,
    *,
    tls: ssl.SSLContext | None = None,
    connections_max: int = 8,
    idle_s_max: float = 60.0,
    buffer_bytes_max: int = 256 * 1024,
) -> AsyncIterator[HttpClient]:
    """Lend a client, which must have no place in use when the block ends."""
    http = HttpClient(
        timeouts=timeouts,
        tls=tls,
        connections_max=connections_max,
        idle_s_max=idle_s_max,
        buffer_bytes_max=buffer_bytes_max,
    )
    try:
        yield http
        assert "<HttpClient 0 busy, " in repr(http)
        assert "waiting" not in repr(http)
    finally:
        await http.close()


def answers(*answers_bytes: bytes) -> Script:
    """Make a script that answers request after request, then waits for the client to leave."""

    async def script(peer: Peer) -> None:
        for answer in answers_bytes:
            await peer.request()
            await peer.send(answer)
        await peer.gone()

    return script


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Render an answer whose length is given."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def turns(count: int) -> None:
    """Let the event loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def wait_for_leave(peer: Peer) -> None:
    """Take a request and say nothing."""
    await peer.request()
    await peer.gone()


def make_tls(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a server's context for a name, and a client's that trusts its issuer."""
    authority = trustme.CA()
    server, checking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(checking)
    return server, checking

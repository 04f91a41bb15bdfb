"""A small HTTP/1.1 server on h11, for answers that may be broken on purpose.

It knows connections, requests and bytes; it knows nothing of Gonka, models or money. What makes it
different from a server for production is `Exchange`: whoever answers may cut, reset or simply stop.
Invariant: a handler runs to its end even when its client has left, since a node does so too.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

import h11

from tallygate.devnet.port import Port

BODY_LIMIT_BYTES = 10 * 1024 * 1024  # the nodes' own limit
HEAD_LIMIT_BYTES = 64 * 1024
DISCARD_LIMIT_BYTES = 4 * BODY_LIMIT_BYTES  # read and thrown away so that a 413 can arrive
UNREAD_LIMIT_BYTES = 256 * 1024  # bytes that a client may send ahead while its answer is under way


class ClientGoneError(Exception):
    """The client closed its connection, so nothing can be sent to it any more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status, body and headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request: `path` without its query, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


class Application(Protocol):
    """What answers requests."""

    async def answer(self, exchange: "Exchange") -> None:
        """Answers one request, or leaves it unanswered by cutting or resetting."""
        ...

    def refuse(self, status: int, message: str) -> Reply:
        """Gives the reply to a request that the server itself refuses (413, 400, 500)."""
        ...


class Exchange:
    """One request and every way to answer it."""

    def __init__(self, request: Request, connection: "Connection") -> None:
        self.request = request
        self._connection = connection

    async def reply(self, reply: Reply) -> None:
        """Sends a whole answer.

        Raises:
            ClientGoneError: The client has left.
        """
        await self.begin(reply, length=len(reply.body))
        await self._connection.send(h11.Data(data=reply.body))
        await self.end()

    async def begin(self, reply: Reply, length: int | None = None) -> None:
        """Sends status and headers only; without a length the body will be chunked."""
        headers = [("content-type", reply.content_type), *reply.headers.items()]
        headers.append(("transfer-encoding", "chunked") if length is None else ("content-length", str(length)))
        await self._connection.send(h11.Response(status_code=reply.status, headers=headers))

    async def send(self, data: bytes) -> None:
        """Sends a piece of the body.

        Raises:
            ClientGoneError: The client has left.
        """
        await self._connection.send(h11.Data(data=data))

    async def end(self) -> None:
        """Ends the body properly."""
        await self._connection.send(h11.EndOfMessage())

    def cut(self) -> None:
        """Closes the connection after what was sent so far, without the body's end."""
        self._connection.close()

    def reset(self) -> None:
        """Resets the connection: the client reads an error, not an end."""
        self._connection.reset()

    async def wait_gone(self, limit_s: float) -> None:
        """Waits until the client has left, but no longer than the limit."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connection.gone.wait(), limit_s)


class Connection(asyncio.Protocol):
    """One client's connection: reads requests one after the other and lets them be answered."""

    def __init__(self, server: "HttpServer") -> None:
        self.gone = asyncio.Event()
        self._server = server
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._unread_bytes = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts to serve."""
        self._transport = cast("asyncio.Transport", transport)
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.adopt(self, asyncio.get_running_loop().create_task(self._serve()))

    def data_received(self, data: bytes) -> None:
        """Takes bytes in, and stops reading when too many wait."""
        self._unread_bytes += len(data)
        if self._unread_bytes > UNREAD_LIMIT_BYTES:
            self._transport.pause_reading()
        self._parser.receive_data(data)
        self._arrived.set()

    def eof_received(self) -> None:
        """Takes the client's end as its leaving, and lets the transport close."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wakes whoever waits for the client."""
        del exc
        self._leave()

    def pause_writing(self) -> None:
        """Makes senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Lets senders go on."""
        self._writable.set()

    # What an exchange calls.

    async def send(self, event: h11.Event) -> None:
        """Writes one event, waiting while the client's buffer is full.

        Raises:
            ClientGoneError: The client has left.
        """
        if self.gone.is_set() or self._transport.is_closing():
            raise ClientGoneError
        self._transport.write(self._parser.send(event) or b"")
        await self._writable.wait()
        if self.gone.is_set():
            raise ClientGoneError

    def close(self) -> None:
        """Closes after everything written so far."""
        self._transport.close()

    def reset(self) -> None:
        """Drops the connection with a TCP reset."""
        sock = self._transport.get_extra_info("socket")
        # A transport that is closing may have no socket left to set anything on.
        if sock is not None and not self._transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # The life of a connection.

    async def _serve(self) -> None:
        try:
            while await self._serve_one():
                self._parser.start_next_cycle()
        except ClientGoneError:
            pass
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, "malformed request")
        finally:
            self.close()

    async def _serve_one(self) -> bool:
        """Reads and answers one request; says whether another may follow on this connection."""
        request = await self._read_request()
        if request is None:
            return False
        with self._server.count_call():
            await self._server.application.answer(Exchange(request, self))
        # An answer that was left unfinished (a fault) can only end with its connection.
        return self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE

    async def _read_request(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        if sum(len(name) + len(value) for name, value in head.headers) > HEAD_LIMIT_BYTES:
            await self._refuse(431, "request header too large")
            return None
        body = bytearray()
        if _declared_length(headers) > BODY_LIMIT_BYTES:
            await self._refuse_large_body()
            return None
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT_BYTES:
                await self._refuse_large_body()
                return None
        if not isinstance(event, h11.EndOfMessage):
            return None
        path, _, query = head.target.decode("latin-1").partition("?")
        return Request(head.method.decode("ascii"), path, headers, bytes(body), query)

    async def _next_event(self) -> object:
        while True:
            event = self._parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.gone.is_set():
                raise ClientGoneError
            await self._say_continue()
            self._unread_bytes = 0
            self._arrived.clear()
            self._transport.resume_reading()
            await self._arrived.wait()

    async def _say_continue(self) -> None:
        if self._parser.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))

    async def _refuse_large_body(self) -> None:
        """Answers 413, then reads on for a while, since closing at once would destroy the answer."""
        await self._refuse(413, "request body too large")
        if self._transport.can_write_eof():
            self._transport.write_eof()
        discarded_bytes = 0
        while discarded_bytes < DISCARD_LIMIT_BYTES:
            event = await self._next_event()
            if not isinstance(event, h11.Data):
                return
            discarded_bytes += len(event.data)

    async def _refuse(self, status: int, message: str) -> None:
        if self._parser.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        reply = self._server.application.refuse(status, message)
        closing = Reply(reply.status, reply.body, reply.content_type, {"connection": "close"})
        with contextlib.suppress(ClientGoneError):
            await Exchange(Request("", "", {}, b""), self).reply(closing)

    def _leave(self) -> None:
        self.gone.set()
        self._arrived.set()
        self._writable.set()


class TlsDoor(asyncio.Protocol):
    """A connection before its TLS handshake, which may be kept waiting."""

    def __init__(self, server: "HttpServer", tls: ssl.SSLContext) -> None:
        self._server = server
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reads nothing before the handshake, which is the next thing that comes."""
        raw = cast("asyncio.Transport", transport)
        raw.pause_reading()
        self._server.keep(asyncio.get_running_loop().create_task(self._open(raw)))

    async def _open(self, raw: asyncio.Transport) -> None:
        await self._server.greet()
        connection = Connection(self._server)
        try:
            loop = asyncio.get_running_loop()
            transport = await loop.start_tls(raw, connection, self._tls, server_side=True)
        except (OSError, ssl.SSLError):
            raw.abort()  # its client has left, or does not trust us
            return
        if transport is not None:
            connection.connection_made(transport)


class HttpServer:
    """One listening port and its connections."""

    def __init__(
        self,
        application: Application,
        tls: ssl.SSLContext | None = None,
        greet: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.application = application
        self._greet = greet
        self._greetings: set[asyncio.Task[None]] = set()
        self._tls = tls
        self._port = Port(self._receive)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._stopping = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port.number

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one. Raises `DevnetPortBusyError` where somebody else listens."""
        await self._port.open(host, port)

    def shut(self) -> None:
        """Goes down: refuses connections, and resets all but the one whose request has asked for it."""
        self._port.shut()
        for task, connection in self._connections.items():
            if task is not asyncio.current_task():
                connection.reset()

    def reopen(self) -> None:
        """Comes back."""
        self._port.reopen()

    async def greet(self) -> None:
        """Waits for as long as a new connection is to be kept waiting."""
        if self._greet is not None:
            await self._greet()

    def keep(self, greeting: asyncio.Task[None]) -> None:
        """Keeps the task of a handshake until it ends."""
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    def _receive(self) -> asyncio.Protocol:
        return Connection(self) if self._tls is None else TlsDoor(self, self._tls)

    async def stop(self) -> None:
        """Stops listening and drops every connection and every answer under way."""
        self._stopping = True
        await self._port.close()
        greetings = list(self._greetings)
        for greeting in greetings:
            greeting.cancel()
        await asyncio.gather(*greetings, return_exceptions=True)
        connections = dict(self._connections)
        for task, connection in connections.items():
            task.cancel()
            connection.reset()
        await asyncio.gather(*connections, return_exceptions=True)

    async def wait_idle(self) -> None:
        """Waits until no call is being answered, also none whose client has left."""
        await self._idle.wait()

    def adopt(self, connection: Connection, task: asyncio.Task[None]) -> None:
        """Keeps a connection's task until it ends; one that was accepted just before the end is dropped."""
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)
        if self._stopping:
            task.cancel()
            connection.reset()

    @contextlib.contextmanager
    def count_call(self) -> Iterator[None]:
        """Counts a call as under way while it is being answered."""
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()


def _declared_length(headers: Mapping[str, str]) -> int:
    return int(headers.get("content-length", "0"))  # h11 has checked that it is a number

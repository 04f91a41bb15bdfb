"""Our routes on a socket: uvicorn's HTTP parser and flow control, with the guards that it leaves out.

uvicorn (httptools) parses, keeps alive, and pushes back on slow readers. It sets no bound on a request's head nor on
the time that a request may take to arrive; here both are bounded, by counting bytes and by one coarse timer for all
connections. Why uvicorn: `docs/decisions/0003-edge.md`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tallygate.core import ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_BYTES_MAX: Final = 64 * 1024
"""The largest request line and headers together; browsers and clients stay below a quarter of it."""

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""The largest request with everything around its body; routes bound their bodies far below it."""

STALL_S_MAX = 300.0
"""How long a caller may let an answer wait: who reads slower than some 160 bytes a second has gone."""

SWEEP_S = 1.0
BACKLOG: Final = 2048
GOODBYE_S: Final = 5.0
"""How long a caller may take to read the end of an answer when the server closes."""
IDLE_S_MAX: Final = 75.0
"""How long an unused connection is kept: longer than load balancers keep theirs (60 s), so that they close first."""


def _last_answer(status: bytes, message: bytes) -> bytes:
    body = b'{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":null}}' % message
    return (
        b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"connection: close\r\nx-should-retry: false\r\nx-request-id: %%s\r\n\r\n%s" % (status, len(body), body)
    )


_MALFORMED: Final = _last_answer(b"400 Bad Request", b"The request is not valid HTTP/1.1.")
_TIMED_OUT: Final = _last_answer(b"408 Request Timeout", b"The request took too long to come.")
_TOO_LARGE: Final = _last_answer(b"431 Request Header Fields Too Large", b"The request's head is too large.")


class PortBusyError(OSError):
    """Somebody else listens there already."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bounded head and bounded patience for a request to arrive."""

    def __init__(self, note_lost: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._note_lost = note_lost
        self._head_bytes = self._message_bytes = 0
        self._in_head = True
        self.refused = False
        self.waiting_since_s: float | None = self.loop.time()
        self.stalled_since_s: float | None = None
        self.on_lost: Callable[[], None] | None = None
        self.app_state["connection"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever serves the caller that it has gone."""
        super().connection_lost(exc)
        self.app_state.clear()
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None
        self._note_lost()

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse a head that does not end."""
        if self.waiting_since_s is None and not self._answering():
            self.waiting_since_s = self.loop.time()
        super().data_received(data)
        self._message_bytes += len(data)
        if self._in_head and self._message_bytes > HEAD_BYTES_MAX:
            self.refuse(_TOO_LARGE)
        elif self._message_bytes > MESSAGE_BYTES_MAX:
            self.refuse(_MALFORMED)

    def on_url(self, url: bytes) -> None:
        """Count the request's target."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header; keep it if it may be kept, and is not one that comes after the body."""
        self._head_bytes += len(name) + len(value) + 4
        if self._in_head and self._head_bytes <= HEAD_BYTES_MAX:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._message_bytes = 0

    def on_headers_complete(self) -> None:
        """The head has ended; the body has a time of its own."""
        self._in_head = False
        self.waiting_since_s = self.loop.time()
        if self._head_bytes > HEAD_BYTES_MAX:
            self.refuse(_TOO_LARGE)
        if not self.refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of a body on, unless the request has been refused."""
        if not self.refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; from now on the caller waits for us."""
        self.waiting_since_s = None
        if not self.refused:
            super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait for the caller to read, from now on."""
        super().pause_writing()
        self.stalled_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        self.stalled_since_s = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's words are not ours)
        """Answer what is not HTTP in the shape of every other error."""
        self.refuse(_MALFORMED)

    def check_patience(self, now_s: float, head_s_max: float, body_s_max: float) -> None:
        """Close a connection whose request has been on its way for too long, or whose caller does not read."""
        if self.stalled_since_s is not None and now_s - self.stalled_since_s > STALL_S_MAX:
            self.transport.abort()
        if self.waiting_since_s is None:
            return
        patience_s = head_s_max if self._in_head else body_s_max
        if now_s - self.waiting_since_s > patience_s:
            fresh = self._in_head and self._head_bytes == 0
            self.refuse(b"" if fresh else _TIMED_OUT)

    def refuse(self, answer: bytes) -> None:
        """Send a last answer, if none is under way, and close."""
        if self.refused or self.transport.is_closing():
            return
        self.refused = True
        if answer and not (self._answering() and self.cycle.response_started):
            self.transport.write(answer % ids.request_id(os.urandom(12)).encode())
        self.transport.close()

    def _answering(self) -> bool:
        """Return whether a request has been taken whose answer is not complete."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete


class HttpServer:
    """One listening socket with an ASGI application behind it.

    Args:
        app: The application.
        head_s_max: How long a request's head may take to arrive.
        body_s_max: How long its body may take.
        sweep_s: How often that is looked at.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        head_s_max: float = 10.0,
        body_s_max: float = 60.0,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(IDLE_S_MAX),
        )
        self._config.load()
        self._state = ServerState()
        self._head_s_max = head_s_max
        self._body_s_max = body_s_max
        self._sweep_s = sweep_s
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses if it is 0.

        Raises:
            PortBusyError: The address is in use or not ours.
        """
        listener = self._bind(host, port)
        loop = asyncio.get_running_loop()
        self._sweep()
        self._server = await loop.create_server(self._make_protocol, sock=listener, backlog=BACKLOG)
        bound: int = listener.getsockname()[1]
        return bound

    def stop_accepting(self) -> None:
        """Close the listening socket and every idle connection; answers under way go on."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()

    def abort(self) -> None:
        """Drop every connection at once, with whatever its caller has not read."""
        for connection in tuple(self._state.connections):
            connection.transport.abort()

    async def close(self) -> None:
        """Close everything that is still open; what has been written still goes out to whoever reads it."""
        self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._state.connections):
            connection.transport.close()
        if self._state.connections:
            self._gone = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._gone], timeout=GOODBYE_S)
            self.abort()
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks), timeout=GOODBYE_S)

    def _make_protocol(self) -> GuardedProtocol:
        return GuardedProtocol(self._note_lost, config=self._config, server_state=self._state, app_state={})

    def _note_lost(self) -> None:
        if self._gone is not None and not self._state.connections and not self._gone.done():
            self._gone.set_result(None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        for connection in tuple(self._state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.check_patience(now_s, self._head_s_max, self._body_s_max)
        self._sweeper = loop.call_later(self._sweep_s, self._sweep)

    @staticmethod
    def _bind(host: str, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise PortBusyError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
        return listener

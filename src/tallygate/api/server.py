"""Our routes on a socket: listens, and makes a guarded connection (`protocol`) for each caller.

It looks after their patience, too: one coarse timer is enough for all. Why uvicorn: `docs/decisions/0003-edge.md`.
"""

from __future__ import annotations

import asyncio
import socket
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.server import ServerState

from tallygate.api.protocol import GuardedProtocol
from tallygate.api.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.api.protocol import Gate

SWEEP_S = 1.0
BACKLOG: Final = 2048
GOODBYE_S: Final = 5.0
"""How long a caller may take to read the end of an answer when the server closes."""
IDLE_S_MAX: Final = 75.0
"""How long an unused connection is kept: longer than load balancers keep theirs (60 s), so that they close first."""


class PortBusyError(OSError):
    """Somebody else listens there already."""


class HttpServer:
    """One listening socket with an ASGI application behind it.

    Args:
        app: The application.
        gate: Refuses what a request's head alone condemns, before the application is asked.
        head_s_max: How long a request's head may take to arrive.
        body_s_max: How long its body may take.
        idle_s_max: How long a connection is kept that is not used.
        turnstile: Where connections wait that have shown a bad key.
        sweep_s: How often their patience is looked at.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        gate: Gate | None = None,
        head_s_max: float = 10.0,
        body_s_max: float = 60.0,
        idle_s_max: float = IDLE_S_MAX,
        turnstile: Turnstile | None = None,
        sweep_s: float = SWEEP_S,
    ) -> None:
        self._config = uvicorn.Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # what callers do wrong is no news for the operator
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(idle_s_max),
        )
        self._config.load()
        self._gate = gate
        self._turnstile = Turnstile() if turnstile is None else turnstile
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
        given = {"config": self._config, "server_state": self._state, "app_state": {}}
        return GuardedProtocol(self._note_lost, self._gate, self._turnstile, **given)

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
                connection.close_if_idle(now_s)
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

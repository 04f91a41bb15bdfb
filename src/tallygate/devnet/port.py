"""One listening port, which can be shut while its host is down: connections are refused, and the port stays ours."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any

BACKLOG = 100


class DevnetPortBusyError(Exception):
    """Another program already listens where the devnet wanted to.

    Attributes:
        port: The busy port.
    """

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is already in use; free it or choose another port")
        self.port = port


class Port:
    """A port, and whoever receives connections there.

    Attributes:
        number: Which it is; 0 before it was opened.
        is_open: Whether connections are taken.
    """

    def __init__(self, receive: Callable[[], asyncio.Protocol]) -> None:
        self.number = 0
        self.is_open = False
        self._receive = receive
        self._listeners: list[asyncio.Server] = []
        self._places: list[tuple[socket.AddressFamily, Any]] = []
        self._kept: list[socket.socket] = []  # bound while nobody listens, so that nobody else takes the port
        self._work: asyncio.Task[None] | None = None

    async def open(self, host: str, number: int) -> None:
        """Listens; number 0 takes a free one.

        Raises:
            DevnetPortBusyError: Somebody else listens there.
        """
        try:
            listener = await asyncio.get_running_loop().create_server(self._receive, host, number)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise DevnetPortBusyError(number) from error
            raise
        self._listeners, self.is_open = [listener], True
        self._places = [(sock.family, sock.getsockname()) for sock in listener.sockets]
        self.number = self._places[0][1][1]

    def shut(self) -> None:
        """Refuses connections from now on; those that are there stay."""
        if self.is_open:
            self.is_open = False
            self._follow(self._keep)

    def reopen(self) -> None:
        """Takes connections again."""
        if self._places and not self.is_open:
            self.is_open = True
            for sock in self._kept:
                sock.listen(BACKLOG)  # at once, for whoever has been told may come at once
            self._follow(self._listen)

    async def close(self) -> None:
        """Takes no more connections, for good."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._places, self.is_open = [], False
        self._let_go()

    def _let_go(self) -> None:
        for listener in self._listeners:
            listener.close()
        for sock in self._kept:
            sock.close()
        self._listeners, self._kept = [], []

    def _follow(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Works on after what is under way."""
        before = self._work

        async def follow() -> None:
            if before is not None:
                await before
            await work()

        self._work = asyncio.get_running_loop().create_task(follow())

    async def _keep(self) -> None:
        """Lets the port go, and takes it again as soon as it is free, which some event loops make it a little later."""
        self._let_go()
        for family, place in self._places:
            sock = socket.socket(family)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.append(sock)
            while True:
                try:
                    sock.bind(place)
                    break
                except OSError:
                    await asyncio.sleep(0)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        kept, self._kept = self._kept, []
        self._listeners = [await loop.create_server(self._receive, sock=sock, backlog=BACKLOG) for sock in kept]

"""The connections to one origin: which is free, which may be opened, and who waits for one.

A lane knows nothing of requests and answers, and never decides whether to try again. Deadlines of
those who wait are looked at in ``sweep``, which client.py calls.

Invariants:
- ``busy`` is the number of places that are leased: calls under way, connections being opened, and
  places promised to a waiter that has not run yet. Whoever leases a place gives it back once.
- ``busy + len(idle) <= connections_max``.
- Somebody waits only while no connection is idle: a freed place goes straight to the longest
  waiting, so that nobody who comes later can take it.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tallygate.network.connection import Connection
from tallygate.network.connection_errors import (
    ClientClosedError,
    ConnectError,
    ConnectTimeoutError,
    NoFreeConnectionError,
)
from tallygate.network.origin import Origin


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one lane may hold.

    Attributes:
        connections_max: connections open at a time, those being opened included.
        idle_s_max: a connection unused for longer than this is not used again.
        buffer_bytes_max: bytes held for one slow reader before its upstream is made to wait.
    """

    connections_max: int
    idle_s_max: float
    buffer_bytes_max: int


# What somebody who waits is given: a connection, or only the place for one.
Place = asyncio.Future[Connection | None]


class Lane:
    """All connections of one client to one origin."""

    def __init__(
        self,
        origin: Origin,
        tls: ssl.SSLContext | None,
        limits: LaneLimits,
        on_unused: Callable[["Lane"], None],
    ) -> None:
        self.host_line = f" HTTP/1.1\r\nHost: {origin.authority}\r\n".encode()
        self.busy = 0
        self.idle: list[Connection] = []
        self.calls: dict[Connection, None] = {}  # in the order of their beginning, as are those that are open
        self.waiters: deque[tuple[Place, float]] = deque()
        self.closed = False
        self.origin = origin
        self._tls = tls
        self._limits = limits
        self._on_unused = on_unused
        self.loop = asyncio.get_running_loop()
        self._open: dict[Connection, None] = {}
        self._emptied: asyncio.Future[None] | None = None

    def take_idle(self, now: float) -> Connection | None:
        """Lease the connection that was used last, unless it has been idle for too long."""
        while self.idle:
            connection = self.idle.pop()
            if now - connection.heard_at <= self._limits.idle_s_max:
                self.busy += 1
                return connection
            connection.discard()
        return None

    async def lease(self, deadline: float, *, fresh: bool) -> Connection:
        """Lease a connection when there is no idle one, or none is wanted: open one, or wait.

        Args:
            deadline: when to give up, by the loop's clock.
            fresh: only a connection that has never served will do.

        Raises:
            ConnectError: the connection could not be opened.
            ConnectTimeoutError: the deadline has passed.
            ClientClosedError: the client was closed meanwhile.
        """
        if self.closed:
            raise ClientClosedError("the client is closed")
        connection = None
        if self.busy + len(self.idle) < self._limits.connections_max:
            self.busy += 1
        elif self.idle:
            self.idle.pop(0).discard()
            self.busy += 1
        else:
            connection = await self._wait_for_place(deadline)
        if connection is not None and (fresh or connection.closed):
            connection.discard()
            connection = None
        return connection or await self._connect(deadline)

    async def _wait_for_place(self, deadline: float) -> Connection | None:
        waiter: Place = self.loop.create_future()
        entry = (waiter, deadline)
        self.waiters.append(entry)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # Already passed over, or still in line.
                    self.waiters.remove(entry)
            elif waiter.exception() is None:
                # The place came in the same turn of the loop as the cancellation.
                self._pass_on(waiter.result())
            raise

    async def _connect(self, deadline: float) -> Connection:
        """Open a connection in a place that the caller has leased; give the place back if not."""
        connection = Connection(self.loop, self, self._limits.buffer_bytes_max)
        opened = False
        try:
            async with asyncio.timeout_at(deadline):
                await self._open_transport(connection)
            if self.closed:
                raise ClientClosedError("the client was closed")
            if connection.closed:
                raise ConnectError(f"{self.origin} closed the connection at once")
            opened = True
        except TimeoutError as error:
            raise ConnectTimeoutError(f"no connection to {self.origin} in time") from error
        finally:
            if not opened:
                connection.discard()
                # A transport that its loop closes because connecting was cancelled may never
                # say that it is lost; uvloop's does not.
                self._open.pop(connection, None)
                self._free_place()
        return connection

    async def _open_transport(self, connection: Connection) -> None:
        origin = self.origin
        try:
            await self.loop.create_connection(
                lambda: connection,
                origin.host,
                origin.port,
                ssl=self._tls,
                server_hostname=origin.host if self._tls else None,
            )
        # UnicodeError: a name that cannot be written for the DNS.
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"cannot connect to {origin}: {error}") from error

    # What connections tell their owner.

    def attach(self, connection: Connection) -> None:
        """Count a connection whose transport is open."""
        self._open[connection] = None

    def detach(self, connection: Connection) -> None:
        """Stop counting a connection whose transport is gone."""
        self._open.pop(connection, None)
        self._tell_if_unused()

    def give_back(self, connection: Connection) -> None:
        """Take back a connection that can serve again."""
        self.calls.pop(connection, None)
        if self.waiters:
            self._pass_on(connection)
        else:
            self.busy -= 1
            self.idle.append(connection)

    def drop(self, connection: Connection) -> None:
        """Take back the place of a connection that is closed."""
        self.calls.pop(connection, None)
        self._free_place()

    def forget(self, connection: Connection) -> None:
        """Take a closed connection off the idle ones, if it is not promised to somebody."""
        if connection in self.idle:
            self.idle.remove(connection)

    def _pass_on(self, connection: Connection | None) -> None:
        """Hand a leased place, with or without its connection, to the longest waiting."""
        while self.waiters:
            waiter, _ = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self.busy -= 1
        if connection is not None and not connection.closed:
            self.idle.append(connection)

    def _free_place(self) -> None:
        self._pass_on(None)
        self._tell_if_unused()

    # What the client does with it.

    def sweep(self, now: float, idle_s: float) -> bool:
        """Fail what is overdue and close what is stale; tell whether anything is under way."""
        for connection in tuple(self.calls):
            connection.check_deadlines(now, idle_s)
        # Those who wait are in the order of their deadlines: all have the same time to wait.
        while self.waiters and self.waiters[0][1] <= now:
            waiter, _ = self.waiters.popleft()
            if not waiter.done():
                message = f"no free connection to {self.origin} in time"
                waiter.set_exception(NoFreeConnectionError(message))
        while self.idle and now - self.idle[0].heard_at > self._limits.idle_s_max:
            self.idle.pop(0).discard()
        return self.busy > 0

    async def close(self) -> None:
        """Fail every call, close every connection, and return when their sockets are closed."""
        self.closed = True
        while self.waiters:
            waiter, _ = self.waiters.popleft()
            if not waiter.done():
                waiter.set_exception(ClientClosedError("the client was closed"))
        for connection in tuple(self.calls):
            connection.end_call(ClientClosedError("the client was closed"))
        for connection in tuple(self._open):
            connection.discard()
        self.idle.clear()
        if self._open:
            self._emptied = self._emptied or self.loop.create_future()
            await self._emptied

    def _tell_if_unused(self) -> None:
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)
        if not (self.busy or self.idle or self.waiters or self._open):
            self._on_unused(self)

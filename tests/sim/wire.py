"""TCP in memory: what is written arrives late, in other pieces, or is lost with its connection; never out of order.

A transport belongs to the process that opened it, or, on the listening side, to whoever listens. When a process
dies, its connections end for the others as the kernel ends them. What is drawn: how long everything takes, where the
bytes are split, whether a connection that is aborted ends with a reset or only with an end.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from tests.sim.loop import Process, SimLoop, current_process

HIGH_WATER_BYTES = 64 * 1024
SPLIT_SHARE = 0.15
SLOW_SHARE = 0.05
DELAY_S = 0.002
SLOW_S = 0.4

Make = Callable[[], asyncio.BaseProtocol]


class Listener:
    """Who takes connections at a port."""

    def __init__(self, net: SimNet, port: int, make: Make) -> None:
        self.sockets = (self,)
        self.family = socket.AF_INET
        self.make = make
        self.context = contextvars.copy_context()
        self._net = net
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        """Return where it listens."""
        return "127.0.0.1", self._port

    def close(self) -> None:
        """Take no more connections."""
        self._net.listeners.pop(self._port, None)

    async def wait_closed(self) -> None:
        """Return at once: nothing is left to close."""


class SimNet(SimLoop):
    """A loop with a network.

    Attributes:
        listeners: By port.
        refusals: How many of the next connections are refused.
        silent: How many of the next connections come about only after minutes.
    """

    def __init__(self, draw: Any) -> None:
        super().__init__(draw)
        self.listeners: dict[int, Listener] = {}
        self.refusals = 0
        self.silent = 0
        self._port = 20_000

    async def create_server(self, make: Make, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Listen at a port of its own."""
        del args, kwargs
        self._port += 1
        listener = self.listeners[self._port] = Listener(self, self._port, make)
        return listener

    async def create_connection(self, make: Make, host: str, port: int, **kwargs: Any) -> Any:  # type: ignore[override]
        """Connect, after a while."""
        del kwargs
        if self.silent:
            self.silent -= 1
            await self.elapse(600)
        await self.elapse(self.delay_s())
        listener = self.listeners.get(port)
        if self.refusals:
            self.refusals -= 1
            listener = None
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        near, far = SimTransport(self, contextvars.copy_context()), SimTransport(self, listener.context)
        near.peer, far.peer = far, near
        protocol = make()
        near.attach(protocol)
        self.call_later(self.delay_s(), lambda: far.attach(listener.make()), context=listener.context)
        return near, protocol

    def delay_s(self) -> float:
        """Return how long the next thing takes on a wire."""
        scale = SLOW_S if self.draw.random() < SLOW_SHARE else DELAY_S
        return scale * self.draw.random()


class FakeSocket(NamedTuple):
    """As much of a socket as the devnet wants to set options on."""

    transport: SimTransport

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Note that the connection is to end with a reset."""
        del level, value
        if option == socket.SO_LINGER:
            self.transport.resets = True


class SimTransport(asyncio.Transport):
    """One end of a connection.

    Attributes:
        peer: The other end.
        resets: Whether an abort is a reset for sure.
    """

    peer: SimTransport

    def __init__(self, net: SimNet, context: contextvars.Context) -> None:
        super().__init__()
        self.resets = False
        self._net = net
        self._context = context
        self._process: Process | None = context.run(current_process)
        self._protocol: asyncio.Protocol | None = None
        self._out = bytearray()
        self._under_way = False
        self._ending = False  # nothing more will be written after what is in `_out`
        self._ended = False  # and the peer has been told so
        self._closing = False
        self._lost = False
        self._writing_paused = False
        self._reading_paused = False
        self._blocked = False  # the peer's bytes wait until we read again
        if self._process is not None:
            self._process.on_death(self._die)

    def attach(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the connection its protocol, and with it life."""
        self._protocol = cast("asyncio.Protocol", protocol)
        self._protocol.connection_made(self)
        if self.peer._out or self.peer._ending:
            self.peer._schedule()

    # --- what protocols call -----------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes on their way."""
        if self._closing or self._ending:
            return
        if self.peer._lost:
            self._net.call_later(self._net.delay_s(), self._lose, BrokenPipeError("gone"), context=self._context)
            return
        self._out += data
        if len(self._out) > HIGH_WATER_BYTES and not self._writing_paused and self._protocol is not None:
            self._writing_paused = True
            self._protocol.pause_writing()
        self._schedule()

    def close(self) -> None:
        """Send what was written, then end."""
        if not self._closing:
            self._closing = self._ending = True
            if self._out:
                self._schedule()
            else:
                self._net.call_soon(self._lose, None, context=self._context)
                self._end_peer()

    def abort(self) -> None:
        """End now; what is on its way is lost."""
        if not self._lost:
            self._closing = self._ending = True
            self._out.clear()
            self._net.call_soon(self._lose, None, context=self._context)
            self._end_peer(reset=self.resets or self._net.draw.random() < 0.5)

    def write_eof(self) -> None:
        """End this direction only."""
        self._ending = True
        self._schedule()

    def can_write_eof(self) -> bool:
        """TCP can."""
        return True

    def is_closing(self) -> bool:
        """Return whether it is closed, or about to be."""
        return self._closing

    def pause_reading(self) -> None:
        """Take nothing for now."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Take what has come."""
        self._reading_paused = False
        if self._blocked:
            self._blocked = False
            self.peer._schedule()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not left yet: the kernel takes some at once."""
        return max(0, len(self._out) - HIGH_WATER_BYTES // 2)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return something like a socket."""
        return FakeSocket(self) if name == "socket" else default

    # --- what the wire does ------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Have the next piece arrive at the peer, in the peer's own time."""
        if not self._under_way and self.peer._protocol is not None and not self.peer._blocked:
            self._under_way = True
            self._net.call_later(self._net.delay_s(), self._deliver, context=self.peer._context)

    def _deliver(self) -> None:
        self._under_way = False
        peer, out = self.peer, self._out
        if peer._closing or peer._protocol is None:
            out.clear()
        elif peer._reading_paused:
            peer._blocked = True
            return
        elif out:
            whole, draw = len(out), self._net.draw
            size = draw.randint(1, whole) if draw.random() < SPLIT_SHARE else whole
            data = bytes(out[:size])
            del out[:size]
            peer._protocol.data_received(data)
        if out:
            self._schedule()
            return
        if self._writing_paused:
            self._writing_paused = False
            self._net.call_soon(self._resume_writing, context=self._context)
        if self._ending and not self._ended:
            if self._closing:
                self._net.call_soon(self._lose, None, context=self._context)
            self._end_peer()

    def _resume_writing(self) -> None:
        if self._protocol is not None and not self._lost:
            self._protocol.resume_writing()

    def _end_peer(self, *, reset: bool = False) -> None:
        if not self._ended:
            self._ended = True
            self._net.call_later(self._net.delay_s(), self.peer._hear_end, reset, context=self.peer._context)

    def _hear_end(self, reset: bool) -> None:
        if self._lost:
            return
        if self._protocol is None:  # the other side was faster than our own beginning
            self._net.call_later(self._net.delay_s(), self._hear_end, reset, context=self._context)
        elif reset:
            self._lose(ConnectionResetError("reset by the other side"))
        elif self._reading_paused:
            self._net.call_later(self._net.delay_s(), self._hear_end, reset, context=self._context)
        elif not self._closing and not self._protocol.eof_received():
            self.close()

    def _lose(self, error: Exception | None) -> None:
        """Tell the protocol once that it is over."""
        if self._lost:
            return
        self._lost = self._closing = self._ending = True
        self._out.clear()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    def _die(self) -> None:
        """End with the process: the kernel sends what it has, or resets."""
        if not self._lost:
            self._lost = self._closing = self._ending = True
            self._protocol = None
            self._out.clear()
            self._end_peer(reset=self._net.draw.random() < 0.5)

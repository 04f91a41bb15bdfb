"""The gateway's HTTP/1.1 client: a request goes out on a kept-alive connection, an answer comes back.

It is made for one thing, calling inference servers fast: no redirects, cookies, proxies,
compression or retries live here, and no knowledge of what is asked. Sockets and parsing are in
connection.py, which connection serves whom in lane.py.

Invariants:
- Whatever happens to a call, also its cancellation, its place among the connections is given back
  exactly once; ``repr`` of an unused client says ``0 busy``.
- One timer looks after the deadlines of all calls. It runs only while a call is under way, and
  notices a deadline at most one period late.
- A call makes no task and, on an idle connection, no more than one future per wait.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from tallygate.network.answer import Answer
from tallygate.network.connection import PIECE_BYTES
from tallygate.network.connection_errors import ClientClosedError
from tallygate.network.lane import Lane, LaneLimits
from tallygate.network.origin import Origin

# The sweep's period is a tenth of the smallest timeout within these bounds: rarely enough to cost
# nothing, often enough that a timeout of minutes is kept to a quarter of a second.
SWEEP_S_MIN = 0.01
SWEEP_S_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the stages of a call may take.

    Attributes:
        connect_s: to get a connection: waiting for a free place, name, TCP and TLS.
        first_byte_s: from the start of sending to the first byte of the answer's body.
        idle_s: silence of the upstream within the body.
        total_s: the whole call, to the last byte of the body.
    """

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float

    def __post_init__(self) -> None:
        if self.shortest_s <= 0:
            raise ValueError("a timeout must be above zero")

    @property
    def shortest_s(self) -> float:
        """The smallest of the four."""
        return min(self.connect_s, self.first_byte_s, self.idle_s, self.total_s)


def trust(ca_file: Path | None) -> ssl.SSLContext | None:
    """Return how servers are checked: by the certificates of a file; None for the system's own."""
    return None if ca_file is None else ssl.create_default_context(cafile=str(ca_file))


class HttpClient:
    """Calls upstreams over pooled connections; belongs to the event loop that first uses it."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
        connections_max: int = 4096,
        idle_s_max: float = 55.0,
        buffer_bytes_max: int = 256 * 1024,
    ) -> None:
        """Make a client; nothing is opened before the first call.

        Args:
            timeouts: the times of every call.
            tls: how to check servers; by default against the system's certificates.
            connections_max: connections to one origin; callers beyond that wait in line.
            idle_s_max: how long an unused connection is kept. Many servers and load balancers
                close theirs after 60 s, and the one who closes first loses no request.
            buffer_bytes_max: how much of an answer is held for a reader that is slow.
        """
        self._timeouts = timeouts
        self._tls = tls
        self._limits = LaneLimits(connections_max, idle_s_max, buffer_bytes_max)
        self._sweep_s = min(max(timeouts.shortest_s / 10, SWEEP_S_MIN), SWEEP_S_MAX)
        self._lanes: dict[Origin, Lane] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        lanes = self._lanes.values()
        busy = sum(lane.busy for lane in lanes)
        idle = sum(len(lane.idle) for lane in lanes)
        waiting = sum(len(lane.waiters) for lane in lanes)
        return f"<HttpClient {busy} busy, {idle} idle{f', {waiting} waiting' if waiting else ''}>"

    def post(
        self,
        origin: Origin,
        path: bytes,
        headers: bytes,
        body: bytes,
        *,
        fresh: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> Coroutine[None, None, Answer]:
        """Send a POST request; return when the status and the headers of its answer are in.

        Args:
            origin: whom to ask.
            path: the request's target, with its query, as it goes on the wire.
            headers: rendered header lines, each ending in CR LF, without Host and Content-Length.
            body: the request's body.
            fresh: use a connection that has never served, because an idle one has just failed.
            on_sent: called once a connection has begun to carry the request.

        Raises:
            UpstreamConnectionError: no answer came; its class says what happened.
        """
        framed = b"Content-Length: %d\r\n%b" % (len(body), headers)
        return self._call(origin, b"POST " + path, framed, body, fresh, on_sent)

    def get(
        self, origin: Origin, path: bytes, headers: bytes = b"", *, fresh: bool = False
    ) -> Coroutine[None, None, Answer]:
        """Send a GET request; as ``post``, but without a body."""
        return self._call(origin, b"GET " + path, headers, b"", fresh, None)

    async def close(self) -> None:
        """Fail every call under way with ClientClosedError and close every connection."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for lane in tuple(self._lanes.values()):
            await lane.close()

    async def _call(
        self,
        origin: Origin,
        start: bytes,
        headers: bytes,
        body: bytes,
        fresh: bool,
        on_sent: Callable[[], None] | None,
    ) -> Answer:
        lane = self._lanes.get(origin) or self._open_lane(origin)
        upload = len(body) > PIECE_BYTES
        # Rendered before a connection is leased, so that nothing can go wrong in between.
        request = b"%b%b%b\r\n%b" % (start, lane.host_line, headers, b"" if upload else body)
        now = lane.loop.time()
        total_at = now + self._timeouts.total_s
        if self._sweeper is None:
            self._sweeper = lane.loop.call_later(self._sweep_s, self._sweep)
        connection = None if fresh else lane.take_idle(now)
        if connection is None:
            deadline = min(now + self._timeouts.connect_s, total_at)
            connection = await lane.lease(deadline, fresh=fresh)
            now = lane.loop.time()
        first_byte_at = now + self._timeouts.first_byte_s
        answer = connection.send(request, upload=upload, first_byte_at=first_byte_at, total_at=total_at)
        lane.calls[connection] = None
        if on_sent is not None:
            on_sent()
        try:
            if upload:
                await connection.upload(answer, body)
            while not answer.status:
                if answer.error is not None:
                    raise answer.error
                await answer.wake_up()
        except asyncio.CancelledError:
            answer.abandon()
            raise
        return answer

    def _open_lane(self, origin: Origin) -> Lane:
        if self._closed:
            raise ClientClosedError("the client is closed")
        if origin.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        tls = self._tls if origin.scheme == "https" else None
        lane = self._lanes[origin] = Lane(origin, tls, self._limits, self._forget_lane)
        return lane

    def _forget_lane(self, lane: Lane) -> None:
        # A late word from a lane that is gone must not take its successor along.
        if self._lanes.get(lane.origin) is lane:
            del self._lanes[lane.origin]

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        lanes = tuple(self._lanes.values())
        under_way = [lane.sweep(now, self._timeouts.idle_s) for lane in lanes]
        self._sweeper = None
        if any(under_way) and not self._closed:
            self._sweeper = asyncio.get_running_loop().call_later(self._sweep_s, self._sweep)

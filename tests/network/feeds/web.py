"""A server of JSON whose answers a test changes as it goes; a clock and the alarms, to watch what comes of them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from tallygate.alarms import Alarms
from tests.network.scripted_server import Peer, Server, answer, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.core.events import OperatorEvent
    from tallygate.network.origin import Origin

START_NS = 1_800_000_000 * 10**9


class Web:
    """The server.

    Attributes:
        pages: What each path answers: something to say as JSON, raw bytes of a whole answer, or nothing for no answer.
        asked: The paths that were asked for, with the key that was shown.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self._server: Server | None = None

    @property
    def origin(self) -> Origin:
        """Where it is."""
        assert self._server is not None
        return self._server.origin()

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.origin)

    async def __call__(self, peer: Peer) -> None:
        """Answer the requests of one connection, until one has no answer."""
        while True:
            head, _, _ = (await peer.request()).partition(b"\r\n\r\n")
            line, *lines = head.decode().split("\r\n")
            path, headers = line.split()[1], dict(header.split(": ", 1) for header in lines)
            self.asked.append((path, headers.get("Authorization", "")))
            page = self.pages.get(path, answer(b'{"error":"Not Found"}', status=b"404 Not Found"))
            if page is None:
                return
            await peer.send(page if isinstance(page, bytes) else answer(json.dumps(page).encode()))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Web]:
        """Run it for a while."""
        async with serve(self) as self._server:
            yield self


class World:
    """A clock that a test sets, and what the operator was told."""

    def __init__(self) -> None:
        self.now = START_NS
        self.told: list[OperatorEvent] = []
        self.alarms = Alarms(self.told.append, self.now_ns)

    def now_ns(self) -> int:
        """Return the time."""
        return self.now

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * 10**9)

    @property
    def wrong(self) -> list[tuple[str, str, str]]:
        """What is wrong now: kind, subject, detail."""
        return [(alarm.kind.value, alarm.subject, alarm.detail) for alarm in self.alarms.standing]

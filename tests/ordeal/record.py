"""What nodes have received and what they have really sent, written down where the bytes go by.

Nothing here comes from the gateway: a call is known by the number in its prompt, a sending by its signature, and what
a node did by the status and the bytes that left it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from tallygate.core.sse import EVENT_BYTES_MAX
from tallygate.devnet.server import Exchange

if TYPE_CHECKING:
    from tallygate.devnet.server import Application, Connection, Reply, Request
    from tests.relay.world import World

_NUMBER = re.compile(rb"Call (\d+):")
_NOT_TAKEN = {403: b"Transfer Agent not allowed", 400: b"signature is ", 404: b"", 410: b"", 429: b"", 503: b""}
_PERHAPS_TAKEN = (500, 502, 504)


class Row(Enum):
    """What the protocol's retry policy says of one sending, by what its node did."""

    SERVED = "served whole"
    FREE = "provably not taken: may be sent again, as often as there are nodes"
    ONCE = "perhaps taken, and no byte of an answer came: may be sent again once"
    NEVER = "refused for good, or answered with what cannot be used: never sent again"


@dataclass
class Arrival:
    """One sending, as its node saw it.

    Attributes:
        number: The call's.
        host: The node's place.
        signature: Under which the chain knows it, if the node began it.
        status: Of the answer; None if none came.
        sent: The answer's body, as far as it was sent.
        at_s: When it arrived, by the loop's clock.
        ended: Whether its body had its proper end.
    """

    number: int
    host: int
    signature: str
    streamed: bool
    status: int | None = None
    sent: list[bytes] = field(default_factory=list)
    at_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    ended: bool = False

    def row(self, *, is_spoilt: bool) -> Row:
        """Return its row; `is_spoilt` says whether its node spoils answers of this form once they have begun."""
        body = self.sent
        if self.status is None or self.status in _PERHAPS_TAKEN:
            return Row.ONCE
        if self.status == 200:
            if not any(body):
                return Row.ONCE
            return Row.NEVER if is_spoilt else Row.SERVED
        words = _NOT_TAKEN.get(self.status)
        return Row.FREE if words is not None and words in b"".join(body) else Row.NEVER

    def shown(self) -> int | None:
        """Return how many tokens of a stream were sent that can be read; None if no choice was."""
        tokens = None
        for event in b"".join(self.sent).split(b"\n\n"):
            try:
                frame = json.loads(event.removeprefix(b"data: ")) if len(event) <= EVENT_BYTES_MAX else None
            except ValueError:
                frame = None
            if frame is None:
                break
            for choice in frame.get("choices", ()):
                tokens = (tokens or 0) + len(choice["token_ids"] or ())
        return tokens


class _Noted(Exchange):
    """An exchange that writes down what is sent."""

    def __init__(self, request: Request, connection: Connection, arrival: Arrival) -> None:
        super().__init__(request, connection)
        self._arrival = arrival

    async def reply(self, reply: Reply) -> None:
        """Send a whole answer."""
        self._arrival.sent.append(reply.body)
        await super().reply(reply)

    async def begin(self, reply: Reply, length: int | None = None) -> None:
        """Send status and headers."""
        self._arrival.status = reply.status
        await super().begin(reply, length)

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._arrival.sent.append(data)
        await super().send(data)

    async def end(self) -> None:
        """End the body."""
        self._arrival.ended = True
        await super().end()


class Record:
    """All sendings by the number of their call, in the order in which they arrived."""

    def __init__(self) -> None:
        self.of_call: dict[int, list[Arrival]] = defaultdict(list)
        self.asked: list[int] = []

    def watch(self, world: World) -> None:
        """From now on write down what the nodes of a world do."""
        self.asked = [0] * len(world.hosts)
        for number, host in enumerate(world.hosts):
            host.application = _Watched(host.application, number, self)


class _Watched:
    """One node."""

    def __init__(self, application: Application, host: int, record: Record) -> None:
        self._application = application
        self._host = host
        self._record = record

    async def answer(self, exchange: Exchange) -> None:
        """Write a chat call down, and let the node answer it."""
        request = exchange.request
        if (request.method, request.path) == ("POST", "/v1/chat/completions"):
            exchange = self._note(request, exchange._connection)
        await self._application.answer(exchange)

    def refuse(self, status: int, message: str) -> Reply:
        """Word an error as the node does."""
        return self._application.refuse(status, message)

    def _note(self, request: Request, connection: Connection) -> Exchange:
        found = _NUMBER.search(request.body)
        assert found is not None, "an ordeal's prompts carry their numbers"
        number, streamed = int(found[1]), b'"stream":true' in request.body
        arrival = Arrival(number, self._host, request.headers["authorization"], streamed)
        self._record.of_call[number].append(arrival)
        self._record.asked[self._host] += 1
        return _Noted(request, connection, arrival)

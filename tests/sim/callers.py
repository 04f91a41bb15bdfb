"""Callers of a simulated gateway, who note what they saw: whole answers, errors, pieces; or who left.

They speak ASGI to the edge itself, as the server does: the connection tells of their leaving by itself, a slow one
makes `send` wait, and after they have left nothing reaches them. What a caller has seen is what the gateway had
sent when the caller left, or the process died: the most that it may have read.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tests.sim.loop import current_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.running import Running

USD = 10**12


@dataclass
class Ask:
    """What a caller asks and how it behaves; drawn.

    Attributes:
        key: The `Idempotency-Key` that it sends, if any.
        meaning: What it asks, in whatever words: under one key, what another with the same asks is the same.
    """

    number: int
    account: int
    body: bytes
    streamed: bool
    at_s: float
    leaves_after: int | None
    slow: bool
    path: str = "/v1/chat/completions"
    key: str | None = None
    meaning: str = ""

    @property
    def claim(self) -> tuple[int, str, str]:
        """Whose key it is: within an account, which has one API key here, and a route."""
        assert self.key is not None
        return self.account, self.path, self.key


@dataclass
class Seen:
    """What a caller saw of one call.

    Attributes:
        inference: The inference's id, minted by the gateway, whether or not the caller was told.
        charged: What it was told that it was charged, in pico-dollars.
        ended: Whether the answer came to its end.
        lost: Whether its connection was lost, because the process had died.
        process: The name of the gateway that was asked.
        asked_at, over_at: At which steps it asked, and the gateway had done with it.
    """

    ask: Ask
    process: str = ""
    asked_at: int = 0
    over_at: int = 0
    inference: str | None = None
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    left: bool = False
    lost: bool = False

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """The JSON objects of a stream, or the one of an answer; to be asked for only when nothing more comes."""
        text = bytes(self.body)
        if not self.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            return [json.loads(text)] if self.ended else []
        frames = (frame for frame in text.split(b"\n\n")[:-1] if frame.startswith(b"data: {"))
        return [json.loads(frame[6:]) for frame in frames]

    @property
    def done(self) -> bool:
        """Whether it saw the proper end of a good answer."""
        if self.status != 200 or not self.ended:
            return False
        return not self.ask.streamed or bytes(self.body).endswith(b"data: [DONE]\n\n")

    @property
    def replayed(self) -> bool:
        """Whether it was told that this answer had been given before."""
        return self.headers.get(b"x-tallygate-replayed") == b"true"

    @property
    def named(self) -> str:
        """The inference that it was told of, by the header; empty if it was of none."""
        return self.headers.get(b"x-inference-id", b"").decode()

    @property
    def error_code(self) -> str | None:
        """The code of the error that it was told, if it was."""
        return next((event["error"]["code"] for event in self.events if "error" in event), None)

    @property
    def usage(self) -> dict[str, Any] | None:
        """The usage that it was told."""
        return next((event["usage"] for event in self.events if event.get("usage")), None)

    @property
    def charged(self) -> int | None:
        """What it was told that it costs, in pico-dollars."""
        return None if self.usage is None else read_usd(self.usage["total_cost_usd_exact"])

    @property
    def charged_before(self) -> int | None:
        """What it was told that the first call with its key has cost, in pico-dollars."""
        if self.error_code != "idempotency_already_charged":
            return None
        return read_usd(self.events[0]["error"]["metadata"]["total_cost_usd"])


class Caller:
    """A connection of one caller to the edge of one process."""

    def __init__(self, seen: Seen, running: Running, key: str, draw: Any) -> None:
        self.seen = seen
        self.on_lost: Callable[[], None] | None = None
        self.finished = asyncio.get_running_loop().create_future()
        self._running = running
        self._key = key
        self._draw = draw
        self._read = False
        self._gone = asyncio.Event()
        running.process.on_death(self._lose)
        running.callers.append(self.leave)

    def start(self) -> asyncio.Task[None]:
        """Send the request; return the gateway's task that serves it."""
        loop: Any = asyncio.get_running_loop()
        self.seen.process, self.seen.asked_at = self._running.process.name, loop.steps
        gateway = self._running.gateway
        assert gateway is not None
        headers = [
            (b"authorization", b"Bearer " + self._key.encode()),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.seen.ask.body)),
        ]
        if self.seen.ask.key is not None:
            headers.append((b"idempotency-key", self.seen.ask.key.encode()))
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.seen.ask.path,
            "query_string": b"",
            "headers": headers,
            "state": {"connection": self},
        }
        task: asyncio.Task[None] = self._running.process.start(
            loop, gateway.public_edge(scope, self._receive, self._send)
        )
        task.add_done_callback(self._finish)
        return task

    def leave(self) -> None:
        """Close the connection, between any two steps of the gateway."""
        if not self.finished.done() and not self.seen.ended and self._running.process.alive:
            self.seen.left = True
            self._gone.set()
            if current_process() is self._running.process:  # the server itself closes the connection
                asyncio.get_running_loop().call_soon(self._tell)
            else:
                self._running.process.context.run(self._tell)

    def _tell(self) -> None:
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None

    async def _receive(self) -> dict[str, Any]:
        if not self._read and not self.seen.left:
            self._read = True
            return {"type": "http.request", "body": self.seen.ask.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        seen = self.seen
        if seen.left:
            return
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = dict(message["headers"])
            return
        seen.body += message.get("body", b"")
        seen.ended = not message.get("more_body", False)
        if seen.ask.slow and not seen.ended and self._draw.random() < 0.3:
            try:
                async with asyncio.timeout(self._draw.random() * 8):
                    await self._gone.wait()
            except TimeoutError:
                pass

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._end()

    def _lose(self) -> None:
        if not self.finished.done():
            self.seen.lost = not self.seen.ended
            self._end()

    def _end(self) -> None:
        if not self.finished.done():
            loop: Any = self.finished.get_loop()
            self.seen.over_at = loop.steps
            self.finished.set_result(None)


def read_usd(text: str) -> int:
    """Return pico-dollars of a decimal of dollars."""
    whole, _, rest = text.partition(".")
    return int(whole) * USD + int(rest.ljust(12, "0") or "0")

"""What the caller sees of a call: headers once, pieces in order, a sign of life while nothing comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from tallygate.core.sse import COMMENT_KEEP_ALIVE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.core.errors import Refusal


class Sink(Protocol):
    """Where an answer goes: the caller, behind whatever server there is."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin a streamed answer."""

    async def write(self, data: bytes) -> None:
        """Send a piece of it, waiting while the caller is slow; does nothing once the caller has left."""

    async def finish(self) -> None:
        """End it."""

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Have a function called when the caller leaves before the end."""


class Reply:
    """The answer to one call.

    Args:
        sink: Where it goes.
        render_error: Renders a refusal as the JSON of an `error` member.
        keep_alive_s: After so long without a byte, a streaming caller gets a comment.

    Attributes:
        headers: The headers of the answer but its content type.
        started: Whether the caller has seen anything.
    """

    def __init__(self, sink: Sink, render_error: Callable[[Refusal], bytes], keep_alive_s: float) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        self._sink = sink
        self._render_error = render_error
        self._keep_alive_s = keep_alive_s
        self._loop = asyncio.get_running_loop()
        self._written_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None

    def keep_alive(self) -> None:
        """From now on show the caller a sign of life whenever nothing has come for a while."""
        self._timer = self._loop.call_later(self._keep_alive_s, self._check_silence)

    async def write(self, data: bytes) -> None:
        """Send a piece of a stream, after the headers if it is the first."""
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *self.headers]
            await self._sink.start(200, [*headers, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])
        self._written_s = self._loop.time()
        await self._sink.write(data)

    async def end(self, data: bytes) -> None:
        """Send the last piece of a stream."""
        self.close()
        await self.write(data)
        await self._sink.finish()

    async def end_with_error(self, refusal: Refusal, usage_json: bytes | None = None) -> None:
        """End a stream with an error event, which tells what was charged, if anything was."""
        usage = b"" if usage_json is None else b',"usage":' + usage_json
        await self.end(b'data: {"error":' + self._render_error(refusal) + usage + b"}\n\n")

    async def respond(self, body: bytes) -> None:
        """Send a whole JSON answer."""
        await self._sink.respond(200, [(b"content-type", b"application/json"), *self.headers], body)

    def close(self) -> None:
        """Stop the signs of life."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_silence(self) -> None:
        silent_s = self._loop.time() - self._written_s
        if silent_s >= self._keep_alive_s:
            silent_s = 0.0
            if self._comment is None or self._comment.done():  # else the caller is slow, and one comment waits already
                self._comment = self._loop.create_task(self._write_comment())
        self._timer = self._loop.call_later(self._keep_alive_s - silent_s, self._check_silence)

    async def _write_comment(self) -> None:
        if self._timer is not None:
            await self.write(COMMENT_KEEP_ALIVE)

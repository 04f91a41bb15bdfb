"""A caller on a raw HTTP/1.1 connection: reads as little as it is told to, and leaves when it is told to.

It shows what came byte by byte, so that an answer that broke off can be told from one that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any, NamedTuple

import h11

DEADLINE_S = 120.0
"""No wait of a test lasts longer; reaching it is a failure, never a pace."""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        complete: Whether the body had its proper end.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The `error.code` of a refusal."""
        code = self.json()["error"]["code"]
        assert isinstance(code, str)
        return code

    @property
    def events(self) -> list[bytes]:
        """The data of a stream's events, comments left out."""
        pieces = self.body.split(b"\n\n")
        assert pieces[-1] == b"", "a stream ends with a whole event"
        return [piece.removeprefix(b"data: ") for piece in pieces[:-1] if not piece.startswith(b":")]

    @property
    def chunks(self) -> list[Any]:
        """The events of a stream but `[DONE]`, decoded."""
        return [json.loads(event) for event in self.events if event != b"[DONE]"]

    @property
    def text(self) -> str:
        """What the model said in the first choice of a stream."""
        choices = [chunk["choices"][0] for chunk in self.chunks if chunk.get("choices")]
        return "".join(choice["delta"].get("content") or "" for choice in choices if choice["index"] == 0)

    @property
    def usage(self) -> Any:
        """The usage, which a stream shows exactly once."""
        if not self.body.startswith((b"data: ", b":")):
            return self.json()["usage"]
        (usage,) = [chunk["usage"] for chunk in self.chunks if "usage" in chunk]
        return usage


class Caller:
    """One connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = h11.Connection(h11.CLIENT)
        self._unread = b""
        self.ended = False
        """Whether the body came to its proper end."""

    @classmethod
    async def open(cls, port: int, *, receive_bytes: int | None = None) -> Caller:
        """Connect; `receive_bytes` bounds what the kernel takes for a caller that does not read."""
        connection = socket.socket()
        connection.setblocking(False)
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        except OSError:
            connection.close()
            raise
        return cls(*await asyncio.open_connection(sock=connection))

    async def send_head(self, method: str, path: str, headers: dict[str, str]) -> None:
        """Send a request's head only."""
        fields = {"host": "gateway", **headers}
        await self.send_raw(self._parser.send(h11.Request(method=method, target=path, headers=list(fields.items()))))

    async def send_body(self, body: bytes) -> None:
        """Send a request's whole body."""
        data = (self._parser.send(h11.Data(data=body)) or b"") if body else b""
        await self.send_raw(data + (self._parser.send(h11.EndOfMessage()) or b""))

    async def send_raw(self, data: bytes | None) -> None:
        """Send bytes as they are."""
        self._writer.write(data or b"")
        await asyncio.wait_for(self._writer.drain(), DEADLINE_S)

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Send a whole request."""
        await self.send_head(method, path, {"content-length": str(len(body)), **headers})
        await self.send_body(body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Wait for an answer's status and headers."""
        event = await self._next()
        while isinstance(event, h11.InformationalResponse):
            event = await self._next()
        assert isinstance(event, h11.Response), event
        self.ended = False
        return event.status_code, {name.decode(): value.decode() for name, value in event.headers}

    async def event(self) -> bytes | None:
        """Wait for the next whole event of a stream, a comment too; None when the body ends or breaks off."""
        while b"\n\n" not in self._unread:
            data = await self._data()
            if data is None:
                return None
            self._unread += data
        event, _, self._unread = self._unread.partition(b"\n\n")
        return event

    async def frames(self, count: int) -> list[Any]:
        """Wait for so many frames of a stream."""
        frames: list[Any] = []
        while len(frames) < count:
            event = await self.event()
            assert event is not None, f"only {len(frames)} frames came"
            if event.startswith(b"data: "):
                frames.append(json.loads(event.removeprefix(b"data: ")))
        return frames

    async def rest(self) -> bytes:
        """Wait for the rest of the body, to its end or to where it breaks off."""
        body = self._unread
        self._unread = b""
        while (data := await self._data()) is not None:
            body += data
        return body

    async def answer(self) -> Answer:
        """Wait for a whole answer; the connection can be used again if it had its end."""
        status, headers = await self.head()
        body = await self.rest()
        if self.ended and self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
        return Answer(status, headers, body, self.ended)

    async def raw(self) -> bytes:
        """Wait for everything until the connection's end."""
        return await asyncio.wait_for(self._reader.read(), DEADLINE_S)

    async def raw_until(self, end: bytes) -> bytes:
        """Wait for everything up to these last bytes, as it comes on the wire."""
        data = bytearray()
        while not data.endswith(end):
            piece = await asyncio.wait_for(self._reader.read(2**20), DEADLINE_S)
            assert piece, "the connection ended before"
            data += piece
        return bytes(data)

    def leave(self) -> None:
        """Close the connection at once, whatever is under way."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _data(self) -> bytes | None:
        event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self.ended = isinstance(event, h11.EndOfMessage)
        return None

    async def _next(self) -> object:
        """Return the next event, or None where the connection breaks off."""
        try:
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                data = await asyncio.wait_for(self._reader.read(65536), DEADLINE_S)
                self._parser.receive_data(data)
        except (h11.RemoteProtocolError, ConnectionError):
            return None
        return event

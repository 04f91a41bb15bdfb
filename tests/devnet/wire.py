"""A raw HTTP client for devnet's tests: it shows what really came, also when it came to no end."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import h11


@dataclass(frozen=True)
class Answer:
    """What came back; `complete` says whether the body had its proper end."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool

    def json(self) -> Any:
        """Gives the body as JSON."""
        return json.loads(self.body)

    def frames(self) -> list[Any]:
        """Gives a stream's frames, [DONE] left out."""
        lines = self.body.decode().split("\n\n")
        payloads = [line.removeprefix("data: ") for line in lines if line]
        return [json.loads(payload) for payload in payloads if payload != "[DONE]"]

    def done(self) -> bool:
        """Says whether the stream ended with [DONE]."""
        return self.body.endswith(b"data: [DONE]\n\n")


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, url: str, **tls: Any) -> Self:
        """Connects to a node's URL."""
        parts = urlsplit(url)
        assert parts.hostname
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, **tls))

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def send(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Sends a request."""
        fields = {"host": "devnet", "content-length": str(len(body)), **(headers or {})}
        head = h11.Request(method=method, target=path, headers=list(fields.items()))
        data = self._parser.send(head) or b""
        data += self._parser.send(h11.Data(data=body)) or b""
        await self.write(data + (self._parser.send(h11.EndOfMessage()) or b""))

    async def receive(self) -> Answer:
        """Reads an answer to its end, or to where it breaks off."""
        head = await self._next()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next()
        assert isinstance(head, h11.Response), head
        body = b""
        event: object = None
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
        complete = isinstance(event, h11.EndOfMessage)
        if complete and self._parser.our_state is h11.DONE:
            self._parser.start_next_cycle()
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body, complete)

    async def receive_frames(self, count: int) -> bytes:
        """Reads an answer's head and the first frames of its body only."""
        assert isinstance(await self._next(), h11.Response)
        body = b""
        while body.count(b"\n\n") < count:
            event = await self._next()
            assert isinstance(event, h11.Data)
            body += event.data
        return body

    async def receive_rest(self) -> bytes:
        """Reads the rest of a body whose beginning was read."""
        body = b""
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
        return body

    async def receive_raw(self) -> bytes:
        """Reads everything until the connection's end."""
        return await self._reader.read()

    async def read_line(self) -> bytes:
        """Reads one line."""
        return await self._reader.readline()

    def leave(self) -> None:
        """Closes the connection without waiting for anything."""
        self._writer.close()

    async def _next(self) -> object:
        """Gives the next event, or None where the connection breaks off before the proper end."""
        try:
            while (event := self._parser.next_event()) is h11.NEED_DATA:
                self._parser.receive_data(await self._reader.read(65536))
        except h11.RemoteProtocolError:
            return None
        return event


async def request(
    url: str,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """Makes one request on a connection of its own."""
    wire = await Wire.open(url)
    try:
        await wire.send(method, path, headers, body)
        return await wire.receive()
    finally:
        wire.leave()


async def control(url: str, method: str, path: str, fields: object = None) -> Any:
    """Calls a control route and gives its JSON, which must be a success."""
    body = b"" if fields is None else json.dumps(fields).encode()
    answer = await request(url, method, f"/devnet/{path}", body=body)
    assert answer.status == 200, answer.body
    return answer.json()

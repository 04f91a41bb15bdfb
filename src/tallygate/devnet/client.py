"""A small HTTP/1.1 client on h11, for one streamed call to a real engine; it shares nothing with the gateway's.

One connection per call. It knows bytes, statuses and TLS, and nothing of models. Redirects are not followed.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import h11

READ_BYTES = 65_536
CONNECT_LIMIT_S = 30


class ConnectionBrokenError(Exception):
    """The other side cannot be reached, or its answer has no proper end."""


class Answer:
    """One answer: its status, and its body as it comes."""

    def __init__(self, status: int, reader: asyncio.StreamReader, parser: h11.Connection) -> None:
        self.status = status
        self._reader = reader
        self._parser = parser

    async def lines(self) -> AsyncIterator[bytes]:
        """Gives the body line by line, without the line ends.

        Raises:
            ConnectionBrokenError: It broke off.
        """
        waiting = b""
        async for data in self._data():
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
        if waiting:
            yield waiting

    async def read(self) -> bytes:
        """Gives the whole body.

        Raises:
            ConnectionBrokenError: It broke off.
        """
        return b"".join([data async for data in self._data()])

    async def _data(self) -> AsyncIterator[bytes]:
        while not isinstance(event := await _next_event(self._reader, self._parser), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)


@contextlib.asynccontextmanager
async def post(url: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Answer]:
    """Posts a body, and gives the answer when its status is there.

    Raises:
        ConnectionBrokenError: There was no answer.
    """
    place = urlsplit(url)
    tls = ssl.create_default_context() if place.scheme == "https" else None
    port = place.port or (443 if tls else 80)
    try:
        opening = asyncio.open_connection(place.hostname, port, ssl=tls)
        reader, writer = await asyncio.wait_for(opening, CONNECT_LIMIT_S)
    except (OSError, TimeoutError) as error:
        raise ConnectionBrokenError(f"{place.hostname}:{port} cannot be reached: {error}") from error
    try:
        parser = h11.Connection(h11.CLIENT)
        fields = {"host": place.netloc.rpartition("@")[2], "content-length": str(len(body)), **headers}
        target = place.path + (f"?{place.query}" if place.query else "")
        head = h11.Request(method="POST", target=target, headers=list(fields.items()))
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(parser.send(event) or b"")
        status = await _next_event(reader, parser)
        while not isinstance(status, h11.Response):
            status = await _next_event(reader, parser)
        yield Answer(status.status_code, reader, parser)
    finally:
        writer.close()


async def _next_event(reader: asyncio.StreamReader, parser: h11.Connection) -> object:
    try:
        while (event := parser.next_event()) is h11.NEED_DATA:
            parser.receive_data(await reader.read(READ_BYTES))
    except (OSError, h11.RemoteProtocolError) as error:
        raise ConnectionBrokenError(f"the answer broke off: {error}") from error
    if isinstance(event, h11.ConnectionClosed):
        raise ConnectionBrokenError("the connection was closed without an answer")
    return event

"""The answer to one call, as its reader sees it: status, headers, and a body that comes in pieces.

It holds what has arrived and wakes who waits for more; sockets, parsing and deadlines are in
connection.py, which is the only one that fills an answer and ends it.

Invariants: it ends exactly once, whole or with an error; what had arrived before the error can
still be read, and the error comes after it; a reader that is cancelled closes the connection.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from tallygate.network.connection_errors import (
    AnswerAbandonedError,
    AnswerTooLargeError,
    UpstreamConnectionError,
)


class Source(Protocol):
    """Where an answer comes from: its connection."""

    loop: asyncio.AbstractEventLoop

    def fail(self, answer: "Answer", error: UpstreamConnectionError) -> None:
        """End the answer with an error, if it has not ended."""

    def resume_reading(self) -> None:
        """Go on filling the answer."""


class Answer:
    """An upstream's answer: status and headers are there, the body is read as it comes.

    One reader at a time. ``status``, ``headers``, ``reused``, ``read``, ``read_all`` and
    ``abandon`` are for the caller; the other attributes belong to the connection.
    """

    __slots__ = (
        "_headers",
        "_source",
        "buffered_bytes",
        "ended",
        "error",
        "header_lines",
        "pieces",
        "reused",
        "status",
        "waiter",
    )

    def __init__(self, source: Source, *, reused: bool) -> None:
        self.status = 0
        self.reused = reused
        self.header_lines: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.ended = False
        self.error: UpstreamConnectionError | None = None
        self.waiter: asyncio.Future[None] | None = None
        self._source = source
        self._headers: dict[str, str] | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name; repeated ones are joined by a comma and a space."""
        headers = self._headers
        if headers is None:
            headers = self._headers = {}
            for name_bytes, value_bytes in self.header_lines:
                name, value = name_bytes.lower().decode("latin-1"), value_bytes.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    async def read(self) -> bytes:
        """Return all of the body that has arrived, waiting for at least a byte; b"" is its end.

        Raises:
            UpstreamConnectionError: the body broke off; raised after all that had arrived of it.
        """
        while not self.pieces:
            if self.ended:
                if self.error is not None:
                    raise self.error
                return b""
            try:
                await self.wake_up()
            except asyncio.CancelledError:
                self.abandon()
                raise
        return self._take()

    async def read_all(self, bytes_max: int) -> bytes:
        """Return the rest of the body.

        Raises:
            AnswerTooLargeError: it is longer than ``bytes_max``; the answer is abandoned.
            UpstreamConnectionError: the body broke off.
        """
        parts: list[bytes] = []
        size = 0
        # A body that came whole with its headers, as most do, is taken without a turn of read().
        while not self.ended or self.error is not None or self.pieces:
            part = self._take() if self.pieces else await self.read()
            size += len(part)
            if size > bytes_max:
                self.abandon()
                raise AnswerTooLargeError(f"the body is longer than {bytes_max} bytes")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def abandon(self) -> None:
        """Stop reading: unless the body has already come to its end, the connection is closed."""
        if not self.ended:
            self._source.fail(self, AnswerAbandonedError("the answer was abandoned"))
        elif self.error is None and self.pieces:
            self.error = AnswerAbandonedError("the answer was abandoned")
        self.pieces.clear()

    def wake_up(self) -> asyncio.Future[None]:
        """Return what is done when something has happened to this answer since the call."""
        if self.waiter is not None and not self.waiter.done():
            raise RuntimeError("an answer has one reader at a time")
        self.waiter = waiter = self._source.loop.create_future()
        return waiter

    def wake(self) -> None:
        """Tell the reader, if one waits, that something has happened."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def ends_with_connection(self) -> bool:
        """Tell whether nothing but the end of the connection marks the end of this body."""
        if not self.status or "content-length" in self.headers:
            return False
        codings = self.headers.get("transfer-encoding", "").lower()
        return codings.rpartition(",")[2].strip() != "chunked"

    def _take(self) -> bytes:
        pieces = self.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered_bytes = 0
        if not self.ended:
            self._source.resume_reading()
        return body

"""One HTTP/1.1 connection to an upstream: its transport and parser, and the call it serves.

A Connection turns the events of its transport and parser into the state of one Answer at a time.
Which connection serves whom, connecting and queueing live in lane.py; deadlines are looked at here
but timed in client.py. No retrying, no redirects, no meaning of a status: those are the callers'.

Invariants:
- An answer ends exactly once, in ``Connection._finish``: whole, or with an error. At that moment
  its connection goes back to its owner, exactly once: reusable, or closed.
- A connection is reused only if the request was out before the answer began, the answer was
  framed by a length or chunks, and not a byte followed it.
- At most ``buffer_bytes_max`` and one read of the socket are held for a slow reader.
- After ``closed`` nothing is written and nothing that still comes is looked at.

Known weak spot: the parser does not tell a lone CR LF after an answer, in the same packet, from no
byte at all. It skips it before the next answer, so nothing can be hidden there.
"""

import asyncio
from typing import Protocol, cast

import httptools

from tallygate.network.answer import Answer
from tallygate.network.connection_errors import (
    ConnectionLostError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    MalformedAnswerError,
    TotalTimeoutError,
    UpstreamConnectionError,
)

# Bytes that may come without a byte of a body: status line and headers, 1xx answers, trailers.
# nginx and Go's server stop at 32 KiB and 1 MiB; no inference server needs a tenth of this.
FRAMING_BYTES_MAX = 64 * 1024

# Up to here the head and the body leave in one write; more is sent in pieces of this size, which
# is also the high-water mark of asyncio's and uvloop's transports.
PIECE_BYTES = 64 * 1024


class Owner(Protocol):
    """Who leases connections out; every call is one transition of one connection."""

    def attach(self, connection: "Connection") -> None:
        """The transport is open."""

    def detach(self, connection: "Connection") -> None:
        """The transport is gone for good."""

    def give_back(self, connection: "Connection") -> None:
        """Its answer ended, and it can serve again."""

    def drop(self, connection: "Connection") -> None:
        """Its answer ended, and it is closed."""

    def forget(self, connection: "Connection") -> None:
        """It closed while it had no answer to read."""


class Connection(asyncio.Protocol):
    """One connection, from its opening to its end; serves one call after the other."""

    __slots__ = (
        "_answer",
        "_any_byte",
        "_body_byte",
        "_buffer_bytes_max",
        "_complete",
        "_first_byte_at",
        "_framing_bytes",
        "_owner",
        "_parser",
        "_reading_paused",
        "_reusable",
        "_served",
        "_total_at",
        "_transport",
        "_uploading",
        "_writing_paused",
        "closed",
        "heard_at",
        "loop",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, buffer_bytes_max: int) -> None:
        self.loop = loop
        self.closed = False
        self.heard_at = 0.0
        self._owner = owner
        self._buffer_bytes_max = buffer_bytes_max
        self._parser: httptools.HttpResponseParser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._served = False
        self._reading_paused = False
        self._writing_paused = False
        self._uploading = False

    # What the client does with it.

    def send(self, request: bytes, *, upload: bool, first_byte_at: float, total_at: float) -> Answer:
        """Begin a call: write the request, or only its head if the body is left to ``upload``."""
        transport = self._transport
        if self._answer is not None or self.closed or transport is None:
            raise RuntimeError("the connection is not free")
        self._answer = answer = Answer(self, reused=self._served)
        self._served = True
        self._any_byte = self._body_byte = self._complete = False
        self._framing_bytes = 0
        self._first_byte_at = first_byte_at
        self._total_at = total_at
        self._uploading = upload
        transport.write(request)
        return answer

    async def upload(self, answer: Answer, body: bytes) -> None:
        """Send a large body no faster than the upstream takes it, until its answer begins."""
        view = memoryview(body)
        transport = self._transport
        assert transport is not None
        for start in range(0, len(body), PIECE_BYTES):
            while self._writing_paused and not answer.status and not answer.ended:
                await answer.wake_up()
            if answer.status or answer.ended:
                return
            transport.write(view[start : start + PIECE_BYTES])
        self._uploading = False

    def fail(self, answer: Answer, error: UpstreamConnectionError) -> None:
        """End the answer with an error and close the connection, if they still belong together."""
        if self._answer is answer:
            self._finish(error)

    def end_call(self, error: UpstreamConnectionError) -> None:
        """End whatever call is under way with an error and close the connection."""
        if self._answer is not None:
            self._finish(error)

    def check_deadlines(self, now: float, idle_s: float) -> None:
        """Fail the call if one of its times is up."""
        if now >= self._total_at:
            self.end_call(TotalTimeoutError("the call took too long"))
        elif not self._body_byte:
            if now >= self._first_byte_at:
                self.end_call(FirstByteTimeoutError("no byte of a body came in time"))
        # While reading is paused it is the reader who is slow, not the upstream.
        elif now - self.heard_at >= idle_s and not self._reading_paused:
            self.end_call(IdleTimeoutError("the upstream fell silent within the body"))

    def resume_reading(self) -> None:
        """Read on after the buffer was full; silence counts from here."""
        if self._reading_paused:
            self._reading_paused = False
            self.heard_at = self.loop.time()
            assert self._transport is not None
            self._transport.resume_reading()

    def discard(self) -> None:
        """Close at once, without a word to the owner."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the open transport."""
        self._transport = cast("asyncio.Transport", transport)
        self.heard_at = self.loop.time()
        if self.closed:  # Given up while it was being opened.
            self._transport.abort()
        else:
            self._owner.attach(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and wake the reader, stop reading, or end the answer; what nobody asked for is an end."""
        answer = self._answer
        if answer is None:
            self._lose(None)  # Nobody asked for this, so nobody may take it for an answer.
            return
        if not answer.status and len(data) > FRAMING_BYTES_MAX:
            self.data_received(data[:FRAMING_BYTES_MAX])
            self.data_received(data[FRAMING_BYTES_MAX:])
            return
        self._any_byte = True
        self.heard_at = self.loop.time()
        buffered_bytes = answer.buffered_bytes
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                reason = error.__context__ or error
                malformed = MalformedAnswerError(f"not a well-formed answer: {reason}")
                malformed.__cause__ = error
                self._finish(malformed)
                return
            self._reusable = False
        if answer.buffered_bytes > buffered_bytes:
            self._body_byte = True
            self._framing_bytes = 0
        else:
            self._framing_bytes += len(data)
        if self._complete:
            self._finish(None)
        elif self._framing_bytes >= FRAMING_BYTES_MAX:
            self._finish(MalformedAnswerError("headers or trailers are longer than 64 KiB"))
        else:
            if answer.buffered_bytes > self._buffer_bytes_max and not self._reading_paused:
                self._reading_paused = True
                assert self._transport is not None
                self._transport.pause_reading()
            if answer.waiter is not None and answer.status:
                answer.wake()

    def eof_received(self) -> None:
        """Take the end of the stream for the end of the connection."""
        self._lose(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way; the transport is gone."""
        self._lose(exc)
        self._owner.detach(self)

    def pause_writing(self) -> None:
        """Stop an upload: the transport's buffer is full."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Go on with an upload."""
        self._writing_paused = False
        if self._answer is not None:
            self._answer.wake()

    # What the parser tells, from within feed_data.

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._complete:
            raise MalformedAnswerError("bytes follow the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        answer = self._answer
        assert answer is not None
        if not answer.status:  # What comes later is a trailer, which nobody here needs.
            answer.header_lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Publish the status, or pass over a 1xx answer."""
        answer = self._answer
        assert answer is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            answer.header_lines.clear()
            return
        if status < 200:
            raise MalformedAnswerError(f"status {status}")
        answer.status = status
        # An upstream that answers before it has read the request may take the rest of it for the
        # next one.
        assert self._transport is not None
        self._reusable = (
            self._parser.should_keep_alive() and not self._uploading and not self._transport.get_write_buffer_size()
        )

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        answer = self._answer
        assert answer is not None
        answer.pieces.append(body)
        answer.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        """Note the end, unless of a 1xx answer: a whole message, but not the one we wait for."""
        assert self._answer is not None
        self._complete = self._answer.status != 0

    # The end.

    def _finish(self, error: UpstreamConnectionError | None) -> None:
        """End the answer and give the connection back: the one place where either happens."""
        answer = self._answer
        assert answer is not None
        self._answer = None
        self._uploading = False
        answer.ended = True
        answer.error = error
        answer.wake()
        if error is None and self._reusable and not self.closed:
            self.resume_reading()
            self._owner.give_back(self)
        else:
            self.discard()
            self._owner.drop(self)

    def _lose(self, cause: Exception | None) -> None:
        """Take note that the connection is over, or has to be."""
        if self.closed:
            return
        self.closed = True
        answer = self._answer
        if answer is None:
            self.discard()
            self._owner.forget(self)
        elif cause is None and answer.ends_with_connection():
            self._finish(None)
        else:
            lost = ConnectionLostError(
                "the connection was reset" if cause else "the connection ended early",
                reused=answer.reused,
                any_byte=self._any_byte,
                body_byte=self._body_byte,
            )
            lost.__cause__ = cause
            self._finish(lost)

r"""Server-sent events: bytes in, the data of each complete event out; and back.

A node answers a streamed inference with `text/event-stream`: lines `data: {json}`, each followed by
a blank line, ended by `data: [DONE]`. The bytes arrive cut at any place. This module finds the
events again, by the rules of the WHATWG HTML standard as far as a relay needs them, and writes
events for callers.

What may live here: the framing of events. What may not: their content (JSON, usage, `[DONE]` as an
ending), sockets, timers; when to send a keep-alive is someone else's decision.

Invariants:
    - Where the stream is cut makes no difference: the events of all feeds together, those that an
      error carries included, are the same for every division of the same bytes.
    - Memory is bounded: what is buffered never exceeds `event_bytes_max`.
    - Time is linear in the bytes fed, also when they come one at a time.
    - An event is reported in the feed that brings the first byte of its blank line's end, so that
      a token never waits for the next packet.

Theory of operation. Nearly all of the traffic is whole events of one `data: ` line each, fed while
nothing is buffered: one split cuts them apart, and a count of the line ends proves that they were of
that form. For all the rest, line ends are reduced to `\n` first; a `\r` ends a line at once, and the
parser remembers to drop a `\n` that follows it. An event under way is finished line by line; then the
data is split at blank lines, and what remains without one is buffered.

By the standard: one space after the colon belongs to the field's syntax; several data lines are
joined by `\n`; a comment (`: …`), another field (`event`, `id`, `retry`), an unknown one or a plain
text line is dropped; an event without any data line is none, one with an empty data line is; an
event that the stream's end cuts off is none (`pending` tells).

Known weak spots: event names, ids and retry times are dropped, which OpenAI's streams do not use. A
node's plain-text error line in the middle of a stream is a field without meaning here; the relay
notices the missing `[DONE]`.
"""

from __future__ import annotations

from typing import Final

EVENT_BYTES_MAX: Final = 1024 * 1024
"""Largest event that is taken, in bytes (protocol: a node's longest SSE line is 1 MiB)."""

DONE: Final = b"[DONE]"
"""The data of the event that ends an OpenAI stream."""

COMMENT_KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment, which every reader of events ignores: shows that the connection lives."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DATA: Final = b"data: "
_DATA_BYTES: Final = len(_DATA)
_BLANK_LINE: Final = b"\n\n"
_BETWEEN: Final = _BLANK_LINE + _DATA


class EventTooLargeError(ValueError):
    """An event of the stream is larger than the parser may buffer.

    Attributes:
        events: The events completed in the same feed before the one that is too large.
    """

    def __init__(self, event_bytes_max: int, events: list[bytes]) -> None:
        super().__init__(f"an event of the stream is larger than {event_bytes_max} bytes")
        self.events = events


class EventParser:
    """Finds the events of one stream. After an error it only raises that error again.

    Args:
        event_bytes_max: The most that an event may take: its data so far and the line being read,
            without line ends.

    Raises:
        ValueError: The bound is not above zero.
    """

    __slots__ = ("_after_return", "_data", "_event_bytes_max", "_failed", "_head", "_idle", "_line")

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        if event_bytes_max < 1:
            raise ValueError("the largest event has at least one byte")
        self._event_bytes_max = event_bytes_max
        # The standard's data buffer: each data line of the event under way, and a \n after each.
        self._data = bytearray()
        # The line under way, without its end.
        self._line = bytearray()
        # The stream's first bytes while they may be a byte order mark, then None.
        self._head: bytes | None = b""
        # The last byte was \r, so that a \n now would belong to the same line end.
        self._after_return = False
        self._failed = False
        # At an event's boundary with nothing remembered: the next bytes can be read by themselves. So they can at the
        # beginning, unless they are a byte order mark, with which no data line begins.
        self._idle = True

    @property
    def pending(self) -> bool:
        """Whether an incomplete event is buffered: at the stream's end, one was cut off."""
        return bool(self._data or self._line or self._head or self._failed)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the data of each event they complete.

        Raises:
            EventTooLargeError: An event exceeds the bound; what came before it is in the error.
        """
        if self._idle and data.endswith(_BLANK_LINE) and len(data) <= self._event_bytes_max:
            payloads = data[_DATA_BYTES:-2].split(_BETWEEN)
            # No line end but those between and at the end: each event is a single data line.
            whole = data.startswith(_DATA) and data.count(b"\n") == 2 * len(payloads)
            if whole and b"\r" not in data:
                self._head = None
                return payloads
        events: list[bytes] = []
        self._take_any(data, events)
        return events

    def _take_any(self, data: bytes, events: list[bytes]) -> None:
        """Take bytes of any form, in any state."""
        if self._failed:
            raise EventTooLargeError(self._event_bytes_max, events)
        if self._head is not None:
            data = self._skip_mark(data, self._head)
        if self._after_return or b"\r" in data:
            data = self._reduce_line_ends(data)
        # No slice can hold a whole event above the bound, so only what is buffered is measured.
        for start in range(0, len(data), self._event_bytes_max):
            self._take_lines(data[start : start + self._event_bytes_max], events)
        self._idle = not (self.pending or self._after_return or self._head is not None)

    def _skip_mark(self, data: bytes, head: bytes) -> bytes:
        head += data
        if len(head) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BYTE_ORDER_MARK)

    def _reduce_line_ends(self, data: bytes) -> bytes:
        r"""Return the data with `\n` as the only line end."""
        if not data:
            return data
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take_lines(self, data: bytes, events: list[bytes]) -> None:
        if self._data or self._line:
            data = self._finish_event(data, events)
        # Now nothing is buffered, or nothing is left.
        if data:
            self._split_events(data, events)

    def _split_events(self, data: bytes, events: list[bytes]) -> None:
        """Take whole events of any form, and buffer what has no blank line yet."""
        *complete, rest = data.split(b"\n\n")
        for text in complete:
            if text.startswith(_DATA) and b"\n" not in text:
                events.append(text[_DATA_BYTES:])
                continue
            values = [value for line in text.split(b"\n") if (value := _data_of(line)) is not None]
            if values:
                events.append(b"\n".join(values))
        for line in rest.split(b"\n")[:-1]:
            self._extend_line(line, events)
            self._end_line(events)
        self._extend_line(rest[rest.rfind(b"\n") + 1 :], events)

    def _finish_event(self, data: bytes, events: list[bytes]) -> bytes:
        """Take the lines up to the event's blank line and return what follows it."""
        start = 0
        while self._data or self._line:
            end = data.find(b"\n", start)
            if end < 0:
                self._extend_line(data[start:], events)
                return b""
            self._extend_line(data[start:end], events)
            self._end_line(events)
            start = end + 1
        return data[start:]

    def _extend_line(self, part: bytes, events: list[bytes]) -> None:
        if len(self._data) + len(self._line) + len(part) > self._event_bytes_max:
            self._failed, self._idle = True, False
            self._data, self._line = bytearray(), bytearray()
            raise EventTooLargeError(self._event_bytes_max, events)
        self._line += part

    def _end_line(self, events: list[bytes]) -> None:
        if self._line:
            value = _data_of(bytes(self._line))
            self._line.clear()
            if value is not None:
                self._data += value
                self._data += b"\n"
        elif self._data:
            events.append(bytes(self._data[:-1]))
            self._data.clear()


def encode_event(payload: bytes) -> bytes:
    r"""Return the event that carries a payload: `data: …` and a blank line.

    A payload of several lines becomes as many data lines; it comes back with `\n` between them. So
    no payload can end its event early or begin another.
    """
    if b"\n" in payload or b"\r" in payload:
        payload = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"data: " + payload + b"\n\n"


def _data_of(line: bytes) -> bytes | None:
    """Return the value of a data line, or None for any other line."""
    if line.startswith(_DATA):
        return line[_DATA_BYTES:]
    if line.startswith(b"data:"):
        return line[_DATA_BYTES - 1 :]
    return b"" if line == b"data" else None

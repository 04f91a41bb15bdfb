"""Server-sent events: framing, every division of a stream, bounds."""

from __future__ import annotations

import itertools
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.sse import (
    COMMENT_KEEP_ALIVE,
    DONE,
    EVENT_BYTES_MAX,
    EventParser,
    EventTooLargeError,
    encode_event,
)

MARK = b"\xef\xbb\xbf"
# Everything that means something to the standard, in pieces that meet each other often.
PIECES = st.sampled_from(
    b"data|data:|data: |:| |\n|\r|\r\n|\n\n|x|event: e|data: {}\n\n|\0|\xff|\xef\xbb\xbf".split(b"|")
)
WHOLE_EVENTS = st.sampled_from(
    b"data: {}\n\n|data: 1\n\ndata: 2\n\n|data: \n\n|data:a\n\n|: c\n\n|\n|data: a\rb\n\n".split(b"|")
)
STREAMS = st.lists(PIECES, max_size=30).map(b"".join)

STREAM = (
    MARK
    + b'data: {"choices":[{"delta":{"content":"\xd0\x9f\xf0\x9f\x8c\x8d"}}]}\n\n'
    + b": keep-alive\n\n"
    + b"event: error\ndata: first\ndata:second\ndata\ndata:  third\nid: 7\n\n"
    + b"\n\n\n"
    + b"retry: 10\n\n"
    + b"data:\n\n"
    + b"data: [DONE]\n\n"
)
EVENTS = [
    b'{"choices":[{"delta":{"content":"\xd0\x9f\xf0\x9f\x8c\x8d"}}]}',
    b"first\nsecond\n\n third",
    b"",
    b"[DONE]",
]


def read_plainly(stream: bytes) -> list[bytes]:
    """Return the events of a whole stream, by the standard's words, line by line."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", stream.removeprefix(MARK))[:-1]:
        field, _, value = line.partition(b":")
        if not line:
            events += [b"\n".join(data)] if data else []
            data = []
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return events


def read(parts: list[bytes], event_bytes_max: int = EVENT_BYTES_MAX) -> tuple[list[bytes], bool]:
    """Return the events of a divided stream, and whether one of them was too large."""
    parser = EventParser(event_bytes_max)
    events: list[bytes] = []
    for part in parts:
        try:
            events += parser.feed(part)
        except EventTooLargeError as error:
            return events + error.events, True
    return events, False


def divide(stream: bytes, cuts: list[int]) -> list[bytes]:
    """Return the stream cut at the given places."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(places)]


def one_by_one(stream: bytes) -> list[bytes]:
    """Return the stream as single bytes."""
    return [stream[at : at + 1] for at in range(len(stream))]


# --- framing ---


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a \n\n", [b"a "]),
        (b"data: a:b: c\n\n", [b"a:b: c"]),
        (b"data\n\n", [b""]),
        (b"data:\n\n", [b""]),
        (b"data: \n\n", [b""]),
        (b"data\ndata\n\n", [b"\n"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\n\n\ndata: b\n\n", [b"a", b"b"]),
        (b"\ndata: a\n\n", [b"a"]),
        (b"\n\n\n", []),
        (b": a comment\n\n", []),
        (b":\n\n", []),
        (b": a comment\ndata: a\n: another\n\n", [b"a"]),
        (b"event: e\n\n", []),
        (b"event: e\ndata: a\nid: 1\nretry: 2\n\n", [b"a"]),
        (b"DATA: a\n\n", []),
        (b" data: a\n\n", []),
        (b"data : a\n\n", []),
        (b"database: a\n\n", []),
        (b"internal server error\n\n", []),
        (b"data: a", []),
        (b"data: a\n", []),
        (b"data: a\n\ndata: b\n", [b"a"]),
        (MARK + b"data: a\n\n", [b"a"]),
        (MARK + MARK + b"data: a\n\n", []),
        (b"data: a\n\n" + MARK + b"data: b\n\n", [b"a"]),
        (b"data: " + MARK + b"\n\n", [MARK]),
        (b"data: a\0b\xff\n\n", [b"a\0b\xff"]),
        (STREAM, EVENTS),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_stream_has_the_events_of_the_standard(stream: bytes, events: list[bytes], line_end: bytes) -> None:
    """By the standard's rules, with every line end, whole or one byte at a time."""
    stream = stream.replace(b"\n", line_end)

    assert read([stream]) == (events, False)
    assert read(one_by_one(stream)) == (events, False)
    assert read([b"", stream, b""]) == (events, False)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_two_cuts_at_every_pair_of_places_change_nothing(line_end: bytes) -> None:
    """A stream cut at any two of its bytes has the same events."""
    stream = STREAM.replace(b"\n", line_end)

    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1, 7):
            assert read([stream[:first], stream[first:second], stream[second:]])[0] == EVENTS


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=8))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10])
@example(b"\r\n" + MARK + b"data: a\n\n", [1])
def test_any_division_has_the_events_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    """However strange the stream and wherever it is cut, the events are the standard's."""
    assert read(divide(stream, cuts)) == (read_plainly(stream), False)
    assert read(one_by_one(stream)) == (read_plainly(stream), False)


@given(st.lists(st.lists(WHOLE_EVENTS | PIECES, max_size=4).map(b"".join), max_size=6))
@example([b"\n", b"data: a\n\ndata: b\n\n", b"data: a\n\n\n", b"data: \n\n"])
@example([b"data: a\n\n", MARK + b"data: b\n\n"])
@example([b"", b"data: a\n\n", MARK + b"data: b\n\n"])
@example([b"data: a", b"\n\rdata: b\n\n"])
@example([b"\r", b"\ndata: a\n\n", b"data: a\r\n\n", b"\ndata: b\n\n"])
def test_feeds_that_mostly_end_with_an_event_have_those_of_the_standard(parts: list[bytes]) -> None:
    """Feeds of whole events, as they mostly come, are read as the same bytes in one piece are."""
    assert read(parts) == (read_plainly(b"".join(parts)), False)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_event_is_reported_as_soon_as_it_is_complete(line_end: bytes) -> None:
    """The first byte of the blank line's end completes an event; no later byte is waited for."""
    parser = EventParser()
    ended = b"data: a" + line_end

    assert parser.feed(ended) == []
    assert parser.feed(line_end[:1]) == [b"a"]
    assert parser.feed(line_end[1:] + b"data: b" + line_end + line_end) == [b"b"]


# --- what is buffered ---


@pytest.mark.parametrize(
    ("stream", "pending"),
    [
        (b"", False),
        (b"data: a\n\n", False),
        (b": comment\n", False),
        (b"event: e\n", False),
        (b"d", True),
        (b"data: a", True),
        (b"data: a\n", True),
        (b"data: a\r", True),
        (b"data: a\r\n\r", False),
        (b"data\n", True),
        (b"data: a\n\ndata: b", True),
        (b"\xef", True),
        (MARK, False),
    ],
)
def test_pending_tells_of_an_incomplete_event(stream: bytes, pending: bool) -> None:
    """At the end of a stream, `pending` says whether it was cut off within an event."""
    parser = EventParser()
    parser.feed(stream)

    assert parser.pending is pending


def test_pending_ends_with_the_event() -> None:
    """The rest of an event makes it complete, and nothing stays behind."""
    parser = EventParser()
    parser.feed(b"data: a\nda")

    assert parser.feed(b"ta: b\n\n") == [b"a\nb"]
    assert not parser.pending


# --- bounds ---


@pytest.mark.parametrize(
    ("stream", "events", "too_large"),
    [
        (b"data: abcd\n\n", [b"abcd"], False),
        (b"data: abcde\n\n", [], True),
        (b"data: abcde", [], True),
        (b"data: a\n\ndata: abcde\n\n", [b"a"], True),
        (b"data: a\n\ndata: abcd\n\ndata: b\n\n", [b"a", b"abcd", b"b"], False),
        (b"data:a\ndata:b\n\n", [b"a\nb"], False),
        (b"data:abc\ndata:bcd\n\n", [], True),
        (b":123456789\n\n", [], False),
        (b":1234567890\n\n", [], True),
        (b": a\n" * 10 + b"data: a\n\n", [b"a"], False),
        (b"data\n" * 11, [], True),
        (b"data: a\n\n" * 50, [b"a"] * 50, False),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_event_above_the_bound_is_an_error(
    stream: bytes, events: list[bytes], too_large: bool, line_end: bytes
) -> None:
    """With a bound of 10, data and the line under way fit in 10 bytes, in any division."""
    stream = stream.replace(b"\n", line_end)

    assert read([stream], 10) == (events, too_large)
    assert read([b"\n", stream], 10) == (events, too_large)
    assert read(one_by_one(stream), 10) == (events, too_large)


@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=8), st.integers(1, 20))
def test_bound_does_not_depend_on_the_division(stream: bytes, cuts: list[int], event_bytes_max: int) -> None:
    """A bounded parser ends in the same place with the same events, wherever the cuts are."""
    whole = read([stream], event_bytes_max)

    assert read(divide(stream, cuts), event_bytes_max) == whole
    assert read(one_by_one(stream), event_bytes_max) == whole
    assert whole[0] == read_plainly(stream)[: len(whole[0])]


def test_default_bound_is_the_protocols() -> None:
    """A line of 1 MiB passes and one more byte does not."""
    line = b"data: ".ljust(1024 * 1024, b"x")

    assert read([line + b"\n\n"]) == ([line[6:]], False)
    assert read([line + b"x\n\n"]) == ([], True)


def test_failed_parser_keeps_nothing_and_only_fails() -> None:
    """After the error the buffer is gone, and every later feed raises the error again."""
    parser = EventParser(100)
    assert parser.feed(b"data: a\n\n") == [b"a"]
    with pytest.raises(EventTooLargeError, match="larger than 100 bytes") as caught:
        parser.feed(b"data: secret\n\ndata: secret\ndata: " + b"secret" * 100)

    assert caught.value.events == [b"secret"]
    assert "secret" not in str(caught.value)
    assert parser.pending
    assert not parser._data
    assert not parser._line
    for data in (b"", b"data: a\n\n", b"\n\n"):
        with pytest.raises(EventTooLargeError) as again:
            parser.feed(data)
        assert again.value.events == []


@pytest.mark.parametrize("endless", [b"x", b"data: x\n", b"data\n", b": x", b"data: \r", b"\xef"])
def test_buffer_never_exceeds_the_bound(endless: bytes) -> None:
    """Whatever never becomes an event is given up before it takes more than the bound."""
    parser = EventParser(1000)
    with pytest.raises(EventTooLargeError):  # noqa: PT012  # The feed that fails is not known.
        for _ in range(2000):
            parser.feed(endless)
            assert len(parser._data) + len(parser._line) <= 1000


def test_ignored_lines_take_no_memory() -> None:
    """Comments and other fields are forgotten line by line, so any number of them may come."""
    parser = EventParser(100)
    empty = sys.getsizeof(parser._line) + sys.getsizeof(parser._data)
    for _ in range(1000):
        assert parser.feed(COMMENT_KEEP_ALIVE[:-1] + b"event: e\nnonsense\n") == []

    assert not parser.pending
    assert sys.getsizeof(parser._line) + sys.getsizeof(parser._data) <= empty + 200
    assert parser.feed(b"data: a\n\n") == [b"a"]


@pytest.mark.parametrize("event_bytes_max", [0, -1])
def test_bound_is_above_zero(event_bytes_max: int) -> None:
    """A parser that could take nothing is refused."""
    with pytest.raises(ValueError, match="at least one byte"):
        EventParser(event_bytes_max)


# --- writing ---


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"{}", b"data: {}\n\n"),
        (b"", b"data: \n\n"),
        (b" a", b"data:  a\n\n"),
        (b"a\nb", b"data: a\ndata: b\n\n"),
        (b"a\r\nb\rc", b"data: a\ndata: b\ndata: c\n\n"),
        (b"a\n\ndata: b", b"data: a\ndata: \ndata: data: b\n\n"),
        (DONE, b"data: [DONE]\n\n"),
    ],
)
def test_event_is_written_as_data_lines(payload: bytes, event: bytes) -> None:
    """Each line of a payload becomes a data line, and a blank line ends the event."""
    assert encode_event(payload) == event


@given(st.lists(st.binary() | STREAMS, max_size=5))
def test_written_events_are_read_back(payloads: list[bytes]) -> None:
    """Any payloads come back one for one, with their line ends as line feeds."""
    stream = b"".join(encode_event(payload) for payload in payloads)
    expected = [re.sub(rb"\r\n|\r", b"\n", payload) for payload in payloads]

    assert read([stream]) == (expected, False)


def test_keep_alive_is_no_event() -> None:
    """The keep-alive comment changes nothing, wherever it is put between events."""
    assert read([COMMENT_KEEP_ALIVE, b"data: a\n\n", COMMENT_KEEP_ALIVE]) == ([b"a"], False)

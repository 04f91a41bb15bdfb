"""One connection, fed by hand: framing, what ends an answer, what is never reused, deadlines."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tallygate.network.answer import Answer
from tallygate.network.connection import FRAMING_BYTES_MAX, Connection
from tallygate.network.connection_errors import (
    ConnectionLostError,
    FirstByteTimeoutError,
    IdleTimeoutError,
    MalformedAnswerError,
    TotalTimeoutError,
    UpstreamConnectionError,
)

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 11\r\nX-A: 1\r\nx-a: 2\r\nX-Empty:\r\n\r\nhello world"
CHUNKED = (
    OK + b"Transfer-Encoding: chunked\r\nX-A: 1, 2\r\nX-Empty: \r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
)
INFORMED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + LENGTH
UNTIL_EOF = OK + b"X-A: 1, 2\r\nX-Empty:\r\n\r\nhello world"


class FakeTransport(asyncio.Transport):
    """Remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.paused = False
        self.unsent_bytes = 0
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is written."""
        self.written += bytes(data)

    def abort(self) -> None:
        """Note the abort."""
        self.aborted = True

    def pause_reading(self) -> None:
        """Note that nothing is read."""
        self.paused = True

    def resume_reading(self) -> None:
        """Note that reading goes on."""
        self.paused = False

    def get_write_buffer_size(self) -> int:
        """Say what the test has set."""
        return self.unsent_bytes


@dataclass
class FakeOwner:
    """Remembers what it was told."""

    told: list[str] = field(default_factory=list)

    def attach(self, connection: Connection) -> None:
        """Note it."""

    def detach(self, connection: Connection) -> None:
        """Note it."""
        self.told.append("detach")

    def give_back(self, connection: Connection) -> None:
        """Note it."""
        self.told.append("give_back")

    def drop(self, connection: Connection) -> None:
        """Note it."""
        self.told.append("drop")

    def forget(self, connection: Connection) -> None:
        """Note it."""
        self.told.append("forget")


class Bench:
    """A connection between a fake transport and a fake owner."""

    def __init__(self, buffer_bytes_max: int = 1024) -> None:
        self.owner = FakeOwner()
        self.transport = FakeTransport()
        loop = asyncio.get_running_loop()
        self.connection = Connection(loop, self.owner, buffer_bytes_max)
        self.connection.connection_made(self.transport)

    def send(self, *, upload: bool = False) -> Answer:
        """Begin a call whose first byte is due at 100 by the loop's clock, its end at 10^12."""
        return self.connection.send(b"GET /", upload=upload, first_byte_at=100, total_at=1e12)

    def feed(self, *chunks: bytes) -> None:
        """Let bytes arrive, in one read each."""
        for chunk in chunks:
            self.connection.data_received(chunk)


async def error_of(answer: Answer) -> UpstreamConnectionError:
    """Read an answer to the error that it must end with."""
    with pytest.raises(UpstreamConnectionError) as caught:
        await answer.read_all(1 << 20)
    return caught.value


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED, INFORMED, UNTIL_EOF])
async def test_answer_is_the_same_wherever_it_is_split(raw: bytes) -> None:
    """An answer that comes in two reads, split at any byte, parses like one that comes in one."""
    for split in range(1, len(raw)):
        bench = Bench()
        answer = bench.send()
        bench.feed(raw[:split], raw[split:])
        if raw is UNTIL_EOF:
            bench.connection.eof_received()

        assert answer.status == 200
        assert answer.headers["x-a"] == "1, 2"
        assert answer.headers["x-empty"] == ""
        assert "link" not in answer.headers
        assert "x-trailer" not in answer.headers
        assert await answer.read_all(11) == b"hello world"
        assert bench.owner.told == ["drop" if raw is UNTIL_EOF else "give_back"]


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED, INFORMED])
async def test_answer_byte_by_byte(raw: bytes) -> None:
    """An answer that comes byte by byte, twice over, parses, and the connection is reused."""
    bench = Bench()
    for reused in (False, True):
        answer = bench.send()
        bench.feed(*(raw[i : i + 1] for i in range(len(raw))))

        assert await answer.read_all(11) == b"hello world"
        assert answer.reused is reused
    assert bench.owner.told == ["give_back", "give_back"]


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED])
async def test_early_end_is_a_loss_wherever_it_comes(raw: bytes) -> None:
    """An answer framed by length or chunks that ends early, at any byte, is a lost connection."""
    body_start = raw.index(b"hello")
    for cut in range(len(raw)):
        bench = Bench()
        answer = bench.send()
        bench.feed(*([raw[:cut]] if cut else []))
        bench.connection.eof_received()
        bench.connection.connection_lost(None)
        error = await error_of(answer)

        assert isinstance(error, ConnectionLostError)
        assert (False, cut > 0) == (error.reused, error.any_byte)
        assert error.body_byte is (cut > body_start)
        assert bench.owner.told == ["drop", "detach"]


async def test_reset_is_not_the_end_of_a_body() -> None:
    """A body that only the end of the connection delimits is lost if that end is a reset."""
    bench = Bench()
    answer = bench.send()
    bench.feed(UNTIL_EOF)
    bench.connection.connection_lost(ConnectionResetError())

    assert await answer.read() == b"hello world"
    assert isinstance(await error_of(answer), ConnectionLostError)


@pytest.mark.parametrize("coding", [b"gzip", b"chunked, gzip", b"xchunked"])
async def test_body_that_is_not_chunked_at_last_goes_on_to_the_end(coding: bytes) -> None:
    """A body whose last coding is not chunked ends with the connection."""
    bench = Bench()
    answer = bench.send()
    bench.feed(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\nhello world")
    bench.connection.eof_received()

    assert await answer.read_all(11) == b"hello world"
    assert bench.owner.told == ["drop"]


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01\x00\x00",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nabc",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n",
        OK + b"A: b\r\n folded\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"A: " + b"x" * FRAMING_BYTES_MAX,
        OK + b"A: b\r\n" * FRAMING_BYTES_MAX + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * FRAMING_BYTES_MAX,
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"x" * FRAMING_BYTES_MAX,
        OK + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * FRAMING_BYTES_MAX,
    ],
    ids=range(18),
)
async def test_malformed(raw: bytes) -> None:
    """What is no well-formed answer, or frames itself without end, closes the connection."""
    bench = Bench()
    answer = bench.send()
    bench.feed(raw)

    assert isinstance(await error_of(answer), MalformedAnswerError)
    assert bench.transport.aborted
    assert bench.owner.told == ["drop"]


async def test_headers_may_be_long() -> None:
    """Headers just below the limit are taken, in one read or many, with a long body behind."""
    raw = OK + b"A: " + b"x" * (FRAMING_BYTES_MAX - 100) + b"\r\nContent-Length: 200000\r\n\r\n"
    raw += b"y" * 200000
    for step in (len(raw), 1000):
        bench = Bench(buffer_bytes_max=1 << 20)
        answer = bench.send()
        bench.feed(*(raw[i : i + step] for i in range(0, len(raw), step)))

        assert len(await answer.read_all(200000)) == 200000


@pytest.mark.parametrize("whole", [LENGTH, CHUNKED])
@pytest.mark.parametrize("surplus", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\0"])
@pytest.mark.parametrize("split", [False, True])
async def test_bytes_after_the_answer(whole: bytes, surplus: bytes, split: bool) -> None:
    """What follows an answer, with it or later, is not taken for another, nor its connection."""
    bench = Bench()
    answer = bench.send()
    bench.feed(*((whole, surplus) if split else (whole + surplus,)))

    assert await answer.read_all(11) == b"hello world"
    assert bench.transport.aborted
    assert bench.owner.told == (["give_back", "forget"] if split else ["drop"])


async def test_bytes_after_a_closing_answer() -> None:
    """Bytes after an answer that announces the end of the connection are dropped."""
    bench = Bench()
    answer = bench.send()
    bench.feed(OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nokHTTP")

    assert await answer.read_all(2) == b"ok"
    assert bench.owner.told == ["drop"]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "give_back"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "give_back"),
        (OK + b"Content-Length: 0\r\n\r\n", "give_back"),
        (OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n", "drop"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "drop"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", "give_back"),
    ],
)
async def test_answers_without_a_body(raw: bytes, told: str) -> None:
    """204, 304 and length 0 end with their headers; who asks for closing is not reused."""
    bench = Bench()
    answer = bench.send()
    bench.feed(raw)

    assert await answer.read() == b""
    assert bench.owner.told == [told]


@pytest.mark.parametrize("unsent", ["buffered", "uploading"])
async def test_answer_before_the_request_is_out(unsent: str) -> None:
    """An answer that comes before the request is out is taken, its connection is not reused."""
    bench = Bench()
    answer = bench.send(upload=unsent == "uploading")
    bench.transport.unsent_bytes = 1 if unsent == "buffered" else 0
    bench.feed(LENGTH)

    assert await answer.read_all(11) == b"hello world"
    assert bench.owner.told == ["drop"]


@pytest.mark.parametrize("event", ["data", "eof", "lost"])
async def test_idle_connection_ends_at_once(event: str) -> None:
    """Data, end or loss on a connection that serves nobody closes it and tells the owner once."""
    bench = Bench()
    if event == "data":
        bench.feed(LENGTH)
    elif event == "eof":
        bench.connection.eof_received()
    bench.connection.connection_lost(None)

    assert bench.connection.closed
    assert bench.owner.told == ["forget", "detach"]


async def test_discarded_before_it_opens() -> None:
    """A connection that is given up before its transport opens is closed as soon as it does."""
    loop, owner, transport = asyncio.get_running_loop(), FakeOwner(), FakeTransport()
    connection = Connection(loop, owner, 1)
    connection.discard()
    connection.connection_made(transport)

    assert transport.aborted


async def test_free_connection_takes_one_call() -> None:
    """A second call on a busy connection is a bug and says so."""
    bench = Bench()
    bench.send()
    with pytest.raises(RuntimeError):
        bench.send()


async def test_deadlines() -> None:
    """The first byte, silence and the whole call have a deadline each."""
    bench = Bench()
    answer = bench.send()
    bench.feed(OK + b"Content-Length: 11\r\n\r\n")
    bench.connection.check_deadlines(99.9, idle_s=1)
    assert not answer.ended
    bench.connection.check_deadlines(100, idle_s=1)
    assert isinstance(await error_of(answer), FirstByteTimeoutError)

    bench = Bench()
    answer = bench.send()
    bench.feed(LENGTH[:-1])
    heard_at = bench.connection.heard_at
    bench.connection.check_deadlines(heard_at + 0.9, idle_s=1)
    assert not answer.ended
    bench.connection.check_deadlines(heard_at + 1, idle_s=1)
    assert isinstance(await error_of(answer), IdleTimeoutError)

    bench = Bench()
    answer = bench.send()
    bench.feed(LENGTH[:-1])
    bench.connection.check_deadlines(1e12, idle_s=1e13)
    assert isinstance(await error_of(answer), TotalTimeoutError)
    bench.connection.check_deadlines(1e9, idle_s=1)  # Nothing is under way any more.


async def test_slow_reader_is_not_a_silent_upstream() -> None:
    """While a full buffer stops the reading, silence does not count; then it counts from zero."""
    bench = Bench(buffer_bytes_max=4)
    connection, transport = bench.connection, bench.transport
    answer = connection.send(b"", upload=False, first_byte_at=1e12, total_at=1e12)
    bench.feed(LENGTH[:-1])
    connection.check_deadlines(1e9, idle_s=1)
    assert (transport.paused, answer.ended) == (True, False)
    connection.heard_at = 0
    await answer.read()
    assert connection.heard_at > 0
    connection.check_deadlines(connection.heard_at + 0.9, idle_s=1)
    assert (transport.paused, answer.ended) == (False, False)
    connection.check_deadlines(connection.heard_at + 1, idle_s=1)
    assert answer.ended


async def test_reading_goes_on_for_the_next_call() -> None:
    """A connection whose reading was stopped when the answer ended reads on for the next call."""
    bench = Bench(buffer_bytes_max=4)
    answer = bench.send()
    bench.feed(LENGTH[:-1], LENGTH[-1:])

    assert not bench.transport.paused
    assert await answer.read_all(11) == b"hello world"

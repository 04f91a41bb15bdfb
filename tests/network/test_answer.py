"""Answers, as their readers see them: waiting, coalescing, limits, abandoning."""

import asyncio

import pytest

from tallygate.network.answer import Answer
from tallygate.network.connection_errors import (
    AnswerAbandonedError,
    AnswerTooLargeError,
    ConnectionLostError,
    UpstreamConnectionError,
)
from tests.network.scripted_server import turns


class FakeSource:
    """An answer's connection that remembers what it was asked for."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.resumed = 0
        self.failed = 0

    def fail(self, answer: Answer, error: UpstreamConnectionError) -> None:
        """End the answer as a connection does."""
        self.failed += 1
        end(answer, error)

    def resume_reading(self) -> None:
        """Count the call."""
        self.resumed += 1


def put(answer: Answer, *pieces: bytes) -> None:
    """Let pieces of the body arrive."""
    answer.pieces += pieces
    answer.buffered_bytes += sum(map(len, pieces))
    answer.wake()


def end(answer: Answer, error: UpstreamConnectionError | None = None) -> None:
    """Let the body end."""
    answer.ended, answer.error = True, error
    answer.wake()


async def test_read_takes_all_that_has_come() -> None:
    """One read returns every piece that has come before its reader runs, then reading goes on."""
    answer = Answer(source := FakeSource(), reused=False)
    reading = asyncio.ensure_future(answer.read())
    await turns(1)
    put(answer, b"a")
    put(answer, b"b", b"c")

    assert await reading == b"abc"
    assert (answer.buffered_bytes, source.resumed) == (0, 1)


async def test_read_after_the_end() -> None:
    """The end of a body can be read any number of times."""
    answer = Answer(FakeSource(), reused=False)
    put(answer, b"a")
    end(answer)

    assert [await answer.read() for _ in range(3)] == [b"a", b"", b""]


async def test_error_comes_after_the_data() -> None:
    """What had come before an error is read first; then every read raises it."""
    lost = ConnectionLostError("lost", reused=False, any_byte=True, body_byte=True)
    answer = Answer(FakeSource(), reused=False)
    put(answer, b"a")
    end(answer, lost)

    assert await answer.read() == b"a"
    for read in (answer.read, answer.read, lambda: answer.read_all(1)):
        with pytest.raises(ConnectionLostError):
            await read()


@pytest.mark.parametrize("ended", [False, True])
async def test_read_all_has_a_limit(ended: bool) -> None:
    """A body of the limit is returned; one byte more abandons the answer."""
    answer = Answer(FakeSource(), reused=False)
    put(answer, b"ab", b"c")
    end(answer)
    assert await answer.read_all(3) == b"abc"
    assert await answer.read_all(0) == b""

    answer = Answer(FakeSource(), reused=False)
    put(answer, b"ab", b"cd")
    if ended:
        end(answer)
    with pytest.raises(AnswerTooLargeError):
        await answer.read_all(3)
    assert answer.ended
    assert not answer.pieces


async def test_abandon_fails_a_pending_read_and_may_be_repeated() -> None:
    """Abandoning ends the answer once, and whoever reads is told."""
    answer = Answer(source := FakeSource(), reused=False)
    reading = asyncio.ensure_future(answer.read())
    await turns(1)
    answer.abandon()
    answer.abandon()

    with pytest.raises(AnswerAbandonedError):
        await reading
    assert source.failed == 1


async def test_abandon_after_the_end() -> None:
    """An abandoned answer whose body has come whole does not fail its connection."""
    answer = Answer(source := FakeSource(), reused=False)
    put(answer, b"a")
    end(answer)
    answer.abandon()

    with pytest.raises(AnswerAbandonedError):
        await answer.read()
    assert source.failed == 0


async def test_cancelled_read_abandons() -> None:
    """A reader that is cancelled abandons the answer."""
    answer = Answer(source := FakeSource(), reused=False)
    reading = asyncio.ensure_future(answer.read())
    await turns(1)
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.failed == 1


async def test_one_reader_at_a_time() -> None:
    """A second reader is a bug and is told so, the first reads on."""
    answer = Answer(FakeSource(), reused=False)
    first = asyncio.ensure_future(answer.read())
    await turns(1)
    with pytest.raises(RuntimeError):
        await answer.read()
    put(answer, b"a")

    assert await first == b"a"


async def test_headers_that_are_not_ascii() -> None:
    """Header bytes of any value are decoded one to one."""
    answer = Answer(FakeSource(), reused=False)
    answer.header_lines = [(b"X-A", b"\xe4"), (b"x-a", b"b")]

    assert answer.headers == {"x-a": "ä, b"}

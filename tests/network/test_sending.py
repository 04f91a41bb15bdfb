"""One sending: what goes wrong below HTTP, in the retry table's terms, and the upstream's own id of an attempt."""

from __future__ import annotations

import asyncio

import pytest

from tallygate.core import retry
from tallygate.core.retry import Failure, SendingError
from tallygate.core.standing import Standing
from tallygate.network import connection_errors as errors
from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.origin import Origin
from tallygate.network.sending import SentAnswer, judge, send
from tests.network.scripted_server import Peer, Server, answer, answers, client, serve, wait_for_leave

HASTY = Timeouts(connect_s=60, first_byte_s=0.05, idle_s=0.05, total_s=60)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"


def lost(*, reused: bool, any_byte: bool) -> errors.ConnectionLostError:
    """Return a lost connection."""
    return errors.ConnectionLostError("x", reused=reused, any_byte=any_byte, body_byte=False)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (errors.ConnectError("x"), retry.UNREACHED),
        (errors.ConnectTimeoutError("x"), retry.UNREACHED),
        (lost(reused=True, any_byte=False), retry.LOST_ON_REUSE),
        (lost(reused=True, any_byte=True), retry.LOST),
        (lost(reused=False, any_byte=False), retry.LOST),
        (lost(reused=False, any_byte=True), retry.LOST),
        (errors.FirstByteTimeoutError("x"), retry.SILENT),
        (errors.IdleTimeoutError("x"), retry.SILENT),
        (errors.TotalTimeoutError("x"), retry.SILENT),
        (errors.MalformedAnswerError("x"), retry.GARBLED),
        (errors.AnswerTooLargeError("x"), retry.GARBLED),
        (errors.AnswerAbandonedError("x"), retry.GARBLED),
        (errors.ClientClosedError("x"), retry.GARBLED),
    ],
)
def test_judge(error: errors.UpstreamConnectionError, failure: Failure) -> None:
    """Every failure below HTTP has its row; only one before anything was sent is without a possible cost."""
    assert judge(error) is failure
    assert failure.charged == error.request_sent


def test_every_error_is_judged() -> None:
    """There is no failure of the client that the table above leaves out."""
    leaves = set(errors.UpstreamConnectionError.__subclasses__())
    (mark,) = test_judge.pytestmark  # type: ignore[attr-defined]
    assert {type(error) for error, _ in mark.args[1]} == leaves


async def post(http: HttpClient, server: Server, *, fresh: bool = False, reference: str | None = None) -> SentAnswer:
    """Send something."""
    place = Standing(lambda: 0.0)
    return await send(http, server.origin(), b"/x", b"A: b\r\n", b"body", place, fresh=fresh, reference=reference)


async def failure_of(http: HttpClient, server: Server) -> Failure:
    """Return how sending something, or reading its answer, fails."""
    with pytest.raises(SendingError) as caught:
        await (await post(http, server)).read_all(100)
    assert caught.value.__context__ is None
    return caught.value.failure


async def test_answer() -> None:
    """An answer is read whole or in pieces, whatever its status."""
    async with serve(answers(answer(b"one", b"X-A: b", status=b"503 No"), answer(b"two"))) as server, client() as http:
        first = await post(http, server)
        assert (first.status, first.headers["x-a"], await first.read_all(3)) == (503, "b", b"one")
        second = await post(http, server)
        assert (await second.read(), await second.read()) == (b"two", b"")


async def test_refused() -> None:
    """Where nobody listens, the place is unreached."""
    async with serve(wait_for_leave) as server:
        port = server.port
    async with client() as http:
        with pytest.raises(SendingError) as caught:
            await send(http, Origin("http", "127.0.0.1", port), b"/", b"", b"", Standing(lambda: 0.0), fresh=False)
        assert caught.value.failure is retry.UNREACHED


@pytest.mark.parametrize(
    ("sent", "failure"),
    [
        (b"", retry.LOST),
        (b"HTTP/1.1 200", retry.LOST),
        (HEAD + b"cut", retry.LOST),
        (b"\x15\x03\x01 not HTTP\r\n\r\n", retry.GARBLED),
        (answer(b"x" * 101), retry.GARBLED),
    ],
)
async def test_broken_answer(sent: bytes, failure: Failure) -> None:
    """An answer that breaks off, is no HTTP, or is larger than is read, fails with its row of the table."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)

    async with serve(script) as server, client() as http:
        assert await failure_of(http, server) is failure


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"cut"])
async def test_silence(sent: bytes) -> None:
    """A node that falls silent before or within its answer fails as silent."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.gone()

    async with serve(script) as server, client(HASTY) as http:
        assert await failure_of(http, server) is retry.SILENT


async def test_reused_connection() -> None:
    """A kept connection that is gone before any byte is its own row, and `fresh` goes around it."""

    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"ok"))
        await peer.request()

    async with serve(once) as server, client() as http:
        await (await post(http, server)).read_all(2)
        assert await failure_of(http, server) is retry.LOST_ON_REUSE
        await (await post(http, server)).read_all(2)
        await (await post(http, server, fresh=True)).read_all(2)
        assert server.accepted == 3


async def test_abandon() -> None:
    """Abandoning an answer closes its connection at once."""
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await peer.gone()
        left.set()

    async with serve(script) as server, client() as http:
        found = await post(http, server)
        found.abandon()
        await left.wait()


@pytest.mark.parametrize(
    ("headers", "reference"),
    [
        ([b"X-Request-Id: req_1"], "req_1"),
        ([b"X-Devshard-Id: devshard-12-3"], "devshard-12-3"),
        ([b"X-Devshard-Id: 42", b"X-Request-Id: req-1"], "req-1@42"),
        ([b"X-Request-Id: aGk+/w=="], "aGk+/w=="),
        ([b"X-Request-Id: the words of a prompt", b"X-Devshard-Id: d"], "d"),
        ([b"X-Request-Id: the words of a prompt"], None),
        ([b"X-Request-Id: " + b"r" * 129], None),
        ([b"X-Request-Id: \xd0\xbf"], None),
        ([b"X-Request-Id: "], None),
        ([], None),
    ],
)
async def test_reference(headers: list[bytes], reference: str | None) -> None:
    """The upstream's own id is taken from its header if it looks like one; it is stored, and text would be too."""
    async with serve(answers(answer(b"", *headers))) as server, client() as http:
        assert (await post(http, server)).reference == reference


async def test_known_reference() -> None:
    """An id that is known beforehand wins over a header."""
    async with serve(answers(answer(b"", b"X-Request-Id: theirs"))) as server, client() as http:
        assert (await post(http, server, reference="ours=")).reference == "ours="

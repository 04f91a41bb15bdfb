"""Answers that can be given again: kept whole or not at all, within bounds, not longer than a day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.idempotency import KEPT_NS
from tallygate.relay.replay import OVERHEAD_BYTES, PIECE_BYTES, Recorder, Replays

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS = [(b"content-type", b"text/plain"), (b"x-inference-id", b"i")]
REPLAYED = [*HEADERS, (b"x-tallygate-replayed", b"true")]
DAY_S = KEPT_NS // 10**9


class Caller:
    """A sink that notes what it was sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Note a beginning."""
        self.sent.append((status, headers))

    async def write(self, data: bytes) -> None:
        """Note a piece."""
        self.sent.append(data)

    async def finish(self) -> None:
        """Note the end."""
        self.sent.append("end")

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Note a whole answer."""
        self.sent.append((status, headers, body))

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Note who wants to know."""
        self.sent.append(callback)


class Slow(Caller):
    """A sink that waits before it takes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = asyncio.Event()

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Wait, then note a whole answer."""
        await self.reads.wait()
        await super().respond(status, headers, body)


class World:
    """Answers in a memory of a few thousand bytes, and a clock."""

    def __init__(self, bytes_max: int = 10**6, answer_bytes_max: int = 10**6) -> None:
        self.now_s = 0.0
        self.replays = Replays(lambda: self.now_s, bytes_max, answer_bytes_max)

    async def answer(self, inference: str, size: int = 10) -> None:
        """Give an answer for the first time."""
        recorder = Recorder(self.replays, inference, Caller())
        await recorder.respond(200, HEADERS, bytes(size))
        recorder.close()

    async def kept(self, *inferences: str) -> list[str]:
        """Return those of which the answer can be given again."""
        return [inference for inference in inferences if await self.replays.replay(inference, Caller())]


async def test_stream_is_passed_on_and_replayed_whole() -> None:
    """The first caller gets each piece at once; a replay has the same beginning and bytes, and its mark."""
    world, first, again = World(), Caller(), Caller()
    recorder = Recorder(world.replays, "i", first)
    await recorder.start(200, HEADERS)
    await recorder.write(b"data: 1\n\n")
    assert world.replays.is_under_way("i")
    assert not await world.replays.replay("i", again)
    await recorder.write(b"data: 2\n\n")
    await recorder.finish()
    assert not world.replays.is_under_way("i")
    recorder.close()

    assert first.sent == [(200, HEADERS), b"data: 1\n\n", b"data: 2\n\n", "end"]
    assert await world.replays.replay("i", again)
    assert again.sent == [(200, REPLAYED), b"data: 1\n\ndata: 2\n\n", "end"]


async def test_whole_answer_is_replayed_whole() -> None:
    """An unstreamed answer comes again in one piece."""
    world, first, again = World(), Caller(), Caller()
    recorder = Recorder(world.replays, "i", first)
    await recorder.respond(200, HEADERS, b"{}")
    recorder.close()

    assert await world.replays.replay("i", again)
    assert (first.sent, again.sent) == ([(200, HEADERS, b"{}")], [(200, REPLAYED, b"{}")])


@pytest.mark.parametrize("streamed", [False, True])
async def test_long_answer_is_replayed_piece_by_piece(streamed: bool) -> None:
    """A replay hands out no more at a time than one piece, so that a slow reader keeps no copy of all of it."""
    world, again = World(), Caller()
    body = bytes(range(256)) * 600
    recorder = Recorder(world.replays, "i", Caller())
    if streamed:
        await recorder.start(200, HEADERS)
        await recorder.write(body)
        await recorder.finish()
    else:
        await recorder.respond(200, HEADERS, body)
    recorder.close()

    assert await world.replays.replay("i", again)
    length = [] if streamed else [(b"content-length", b"153600")]
    head, *pieces, end = again.sent
    assert (head, end) == ((200, [*REPLAYED, *length]), "end")
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == body
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) <= PIECE_BYTES


async def test_answer_that_is_being_read_stays_counted() -> None:
    """What a slow reader still gets is neither driven out nor purged, so all memory that answers take is counted."""
    world, slow = World(bytes_max=2 * (OVERHEAD_BYTES + 10)), Slow()
    await world.answer("a")
    await world.answer("b")
    replaying = asyncio.ensure_future(world.replays.replay("a", slow))
    await asyncio.sleep(0)
    world.now_s = DAY_S
    world.replays.purge()
    assert world.replays.bytes == OVERHEAD_BYTES + 10
    await world.answer("c")
    await world.answer("d")
    await world.answer("too large", 11)
    assert await world.kept("c", "d", "too large") == []
    assert world.replays.bytes == OVERHEAD_BYTES + 10
    slow.reads.set()
    assert await replaying

    world.replays.purge()
    assert world.replays.bytes == 0


async def test_caller_that_leaves_is_told_of() -> None:
    """Who wants to know of a caller's leaving is known to the caller's own sink."""
    world, caller = World(), Caller()
    Recorder(world.replays, "i", caller).on_leave(world.replays.purge)

    assert caller.sent == [world.replays.purge]


async def test_answer_that_broke_off_is_not_kept() -> None:
    """An answer without its end is forgotten, and takes no memory."""
    world = World()
    recorder = Recorder(world.replays, "i", Caller())
    await recorder.start(200, HEADERS)
    await recorder.write(bytes(100))
    assert world.replays.bytes == OVERHEAD_BYTES + 100
    recorder.close()

    assert await world.kept("i") == []
    assert (world.replays.bytes, world.replays.is_under_way("i")) == (0, False)


async def test_the_one_that_nobody_asked_for_goes_first() -> None:
    """When memory is short, the answer that was asked for the longest ago makes room, and no more than need be."""
    world = World(bytes_max=3 * (OVERHEAD_BYTES + 10))
    for inference in "abc":
        await world.answer(inference)
    assert await world.kept("a") == ["a"]
    await world.answer("d")

    assert await world.kept("a", "b", "c", "d") == ["a", "c", "d"]
    assert world.replays.bytes == 3 * (OVERHEAD_BYTES + 10)


@pytest.mark.parametrize(("size", "kept"), [(1000, ["big"]), (1001, [])])
async def test_too_large_an_answer_is_not_kept(size: int, kept: list[str]) -> None:
    """An answer beyond the bound of one is passed on and not kept, and drives no other one out."""
    world = World(answer_bytes_max=OVERHEAD_BYTES + 1000)
    await world.answer("small")
    before = world.replays.bytes
    await world.answer("big", size)

    assert await world.kept("small", "big") == ["small", *kept]
    assert world.replays.bytes == before + (OVERHEAD_BYTES + size if kept else 0)


async def test_answers_on_their_way_count() -> None:
    """What is still on its way takes memory too: where that is all, an answer is passed on and not kept."""
    world = World(bytes_max=2 * OVERHEAD_BYTES + 100)
    recorders = [Recorder(world.replays, name, Caller()) for name in "ab"]
    for recorder in recorders:
        await recorder.start(200, HEADERS)
        await recorder.write(bytes(60))
    assert world.replays.bytes <= 2 * OVERHEAD_BYTES + 100
    for recorder in recorders:
        await recorder.finish()
        recorder.close()

    assert await world.kept("a", "b") == ["a"]
    assert world.replays.bytes == OVERHEAD_BYTES + 60


async def test_answers_are_kept_for_a_day() -> None:
    """After 24 hours an answer is given to nobody, and a purge takes it out of memory; younger ones stay."""
    world = World()
    await world.answer("a")
    world.now_s = 1.0
    await world.answer("b")
    world.now_s = DAY_S - 0.5
    world.replays.purge()
    assert await world.kept("a", "b") == ["a", "b"]
    world.now_s = DAY_S
    assert await world.kept("a", "b") == ["b"]
    world.replays.purge()

    assert repr(world.replays) == f"<Replays 1 kept, 0 under way, {OVERHEAD_BYTES + 10} bytes>"

"""While nothing comes: signs of life to a streaming caller, and what can still happen after the first of them."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.relay.reply import Reply
from tests.relay.world import charged, open_world, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.relay.caller import Caller

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
KEEP_ALIVE_S = 0.05
COMMENT = b": keep-alive"


async def wait_for_comments(caller: Caller, count: int) -> None:
    """Wait until so many comments have come, and nothing else."""
    for _ in range(count):
        assert await caller.event() == COMMENT


@KINDS
async def test_a_silent_network_is_bridged_with_comments(kind: str) -> None:
    """After a while without a byte, headers and comments come; then the answer, whole, with its usage once."""
    async with open_world(kind, keep_alive_s=KEEP_ALIVE_S) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        status, headers = await caller.head()
        await wait_for_comments(caller, 3)

        assert status == 200
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["x-inference-id"] == world.entries(e.HOLD)[0].inference
        world.clear_faults()
        events = [event for event in (await caller.rest()).split(b"\n\n") if event and event != COMMENT]
        assert events[-1] == b"data: [DONE]"
        assert json.loads(events[-2].removeprefix(b"data: "))["usage"]["completion_tokens"] == 5
        assert caller.ended


async def test_failover_goes_on_behind_the_comments() -> None:
    """A node that fails after the first comment is replaced as before, and its successor's answer comes through."""
    async with open_world(keep_alive_s=KEEP_ALIVE_S) as world:
        world.order("stall_headers", host=0)
        caller = await world.send(stream=True)
        await caller.head()
        await wait_for_comments(caller, 2)

        world.clear_faults()  # the stalling node hangs up
        assert b"[DONE]" in await caller.rest()
        assert world.upstream_calls == 2
        assert world.ending().kind == e.SETTLE
        assert world.ending().try_ == 1


@KINDS
async def test_a_failure_behind_the_comments_is_an_error_event(kind: str) -> None:
    """When no node is left after the first comment, the stream ends with an error event, no usage and no charge."""
    async with open_world(kind, keep_alive_s=KEEP_ALIVE_S) as world:
        world.order("stall_headers", times=None)
        caller = await world.send(stream=True)
        await caller.head()
        await wait_for_comments(caller, 1)

        for calls in (1, 2):
            await until(lambda: world.upstream_calls >= calls or not world.gateway.relay.under_way)  # noqa: B023
            world.clear_faults()
            world.order("stall_headers", times=None)
        events = [event for event in (await caller.rest()).split(b"\n\n") if event and event != COMMENT]
        (event,) = events
        error = json.loads(event.removeprefix(b"data: "))
        assert set(error) == {"error"}
        assert error["error"]["code"] == "upstream_error"
        assert caller.ended
        assert world.ending().kind == e.VOID


@KINDS
async def test_comments_come_in_the_middle_of_a_stream_too(kind: str) -> None:
    """When a stream falls silent, comments come between its frames, and it is still charged for what came."""
    async with open_world(kind, keep_alive_s=KEEP_ALIVE_S) as world:
        world.order("stall_stream", after_frames=3)
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(3)
        await wait_for_comments(caller, 2)

        world.clear_faults()  # the stalling node hangs up
        rest = await caller.rest()
        assert b"upstream_interrupted" in rest
        assert charged(world.ending()) > 0


async def test_an_unstreamed_answer_has_no_comments() -> None:
    """A caller who waits for JSON gets nothing before it."""
    async with open_world(keep_alive_s=0.001) as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        for _ in range(50):
            await world.get("/health/live")
        world.clear_faults()
        answer = await caller.answer()

        assert answer.body.startswith(b'{"id":')


class HandLoop:
    """An event loop whose time is moved by hand, as far as signs of life go; tasks run on the real one."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: dict[float, Callable[[], None]] = {}

    def time(self) -> float:
        """Return the time."""
        return self.now_s

    def call_later(self, wait_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Keep what is to be called."""
        self.timers[self.now_s + wait_s] = call
        return asyncio.get_running_loop().call_at(math.inf, call)

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a task."""
        return asyncio.get_running_loop().create_task(coroutine)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and call what is due meanwhile, each at its moment."""
        end_s = self.now_s + seconds
        while (due_s := min(self.timers, default=math.inf)) <= end_s:
            self.now_s = due_s
            self.timers.pop(due_s)()
            await asyncio.sleep(0)
        self.now_s = end_s


class Heard:
    """A caller, by what it has heard."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def start(self, *_: object) -> None:
        """Hear the headers."""

    async def write(self, data: bytes) -> None:
        """Hear a piece."""
        self.pieces.append(data)


async def test_no_comment_comes_while_frames_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that keeps coming has no comments in it, however long it is; once it is silent for long, it has one."""
    heard, loop = Heard(), HandLoop()
    with monkeypatch.context() as patched:
        patched.setattr("tallygate.relay.reply.asyncio.get_running_loop", lambda: loop)
        reply = Reply(heard, lambda _: b"", 5.0)  # type: ignore[arg-type]  # a sink, as far as it is used here
    reply.keep_alive()
    for _ in range(20):
        await loop.pass_time(4.5)
        await reply.write(b"frame")
    assert heard.pieces == [b"frame"] * 20

    await loop.pass_time(4.5)
    assert heard.pieces == [b"frame"] * 20
    await loop.pass_time(1)
    assert heard.pieces == [*[b"frame"] * 20, COMMENT + b"\n\n"]
    reply.close()


async def test_a_caller_may_leave_behind_the_comments() -> None:
    """Leaving after the first comment ends the call like leaving before the first byte."""
    async with open_world("openai", keep_alive_s=KEEP_ALIVE_S) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        await caller.head()
        await wait_for_comments(caller, 1)
        caller.leave()

        await until(lambda: not world.gateway.relay.under_way)
        world.clear_faults()
        assert world.ending().kind == e.SETTLE
        assert world.ending().completion_tokens == 0

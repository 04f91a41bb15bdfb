"""The store as the last word: nothing final before it is durable, and nothing at all once it has failed."""

import json

import pytest

from tallygate.core.ledger import entry as e
from tests.relay.caller import Answer
from tests.relay.world import World, open_world, until

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
STREAMED = pytest.mark.parametrize("stream", [False, True])


async def wait_for_flush(world: World, flushes: int) -> None:
    """Wait until a commit is on its way to the disk."""
    await until(lambda: world.journal.flushes > flushes)


def assert_store_down(answer: Answer) -> None:
    """Check how a caller is told of a store that has failed: never as their own fault."""
    assert (answer.status, answer.code) == (503, "store_unavailable"), answer
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-should-retry"] == "false"
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    assert answer.headers["x-request-id"].startswith("req_")


async def assert_not_ready(world: World) -> None:
    """Check that the gateway says of itself that it takes no calls, and that no call reaches the network."""
    ready, calls = await world.get("/health/ready"), world.upstream_calls
    assert ready.status == 503
    assert ready.json() == {"status": "not_ready", "reasons": ["the store does not take writes"]}
    assert (await world.get("/health/live")).status == 200
    for _ in range(3):
        assert_store_down(await world.chat())
    assert world.upstream_calls == calls


async def assert_expires(world: World, open_holds: int, status: int = 200) -> None:
    """Check that a start on the same disk ends the holds that were left open, and that the money is free again."""
    assert len(world.disk.open_holds) == open_holds
    await world.stop()
    await world.start()
    assert len(world.entries(e.EXPIRE)) == open_holds
    assert world.account.held == 0
    assert world.account.available == world.picousd
    assert (await world.chat()).status == status
    await world.settle_down()


@KINDS
@STREAMED
async def test_nothing_is_sent_before_the_hold_is_durable(kind: str, stream: bool) -> None:
    """While the hold is on its way to the disk the network has not heard of the call; then it is served."""
    async with open_world(kind) as world:
        flushes = world.journal.flushes
        world.journal.hold_back()
        caller = await world.send(stream=stream)
        await wait_for_flush(world, flushes)
        for _ in range(20):
            await world.get("/health/live")

        assert world.upstream_calls == 0
        world.journal.let_go()
        assert (await caller.answer()).status == 200


@KINDS
@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_streams_end_waits_for_the_charge(kind: str, include_usage: bool) -> None:
    """Tokens come at once; the finish chunk, the usage and `[DONE]` only when the charge is durable."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True, stream_options={"include_usage": include_usage})
        await world.arrival(1)
        flushes = world.journal.flushes
        world.journal.hold_back()
        world.clear_faults()
        await caller.head()
        frames = await caller.frames(6)
        await wait_for_flush(world, flushes)
        for _ in range(20):
            await world.get("/health/live")

        assert caller._unread == b""
        assert all(frame["choices"][0]["finish_reason"] is None and "usage" not in frame for frame in frames)
        world.journal.let_go()
        rest = await caller.rest()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert rest.count(b"usage") == 1
        assert rest.count(b'"finish_reason":"length"') == 1


@KINDS
async def test_an_unstreamed_answer_waits_for_the_charge(kind: str) -> None:
    """No byte of a JSON answer is sent before its charge is durable."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        flushes = world.journal.flushes
        world.journal.hold_back()
        world.clear_faults()
        await wait_for_flush(world, flushes)
        for _ in range(20):
            await world.get("/health/live")

        assert not caller._reader._buffer  # type: ignore[attr-defined]
        world.journal.let_go()
        assert (await caller.answer()).status == 200


@KINDS
@STREAMED
async def test_a_store_that_fails_at_the_hold(kind: str, stream: bool) -> None:
    """The caller gets a 503, the network is never called, and nothing is taken until a new start."""
    async with open_world(kind, sound=False) as world:
        world.journal.broken = True

        assert_store_down(await world.chat(stream=stream))
        assert world.upstream_calls == 0
        await assert_not_ready(world)
        world.journal.broken = False
        await assert_not_ready(world)  # a disk that is well again is not trusted before a new start has read it
        await assert_expires(world, open_holds=0)


@KINDS
async def test_a_store_that_fails_at_an_unstreamed_charge(kind: str) -> None:
    """The answer is withheld with a 503 that is not to be retried; the hold expires with the next start."""
    async with open_world(kind, sound=False) as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        world.journal.broken = True
        world.clear_faults()
        answer = await caller.answer()

        assert_store_down(answer)
        (hold,) = world.entries(e.HOLD)
        assert answer.headers["x-inference-id"] == hold.inference
        await assert_not_ready(world)
        await assert_expires(world, open_holds=1)


@KINDS
async def test_a_store_that_fails_at_a_streams_charge(kind: str) -> None:
    """The stream ends with an error event: no finish, no usage, no `[DONE]`; the hold expires at the next start."""
    async with open_world(kind, sound=False) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        await world.arrival(1)
        world.journal.broken = True
        world.clear_faults()
        answer = await caller.answer()

        *frames, last = answer.chunks
        assert last["error"]["code"] == "store_unavailable"
        assert set(last) == {"error"}
        assert len(frames) == 6
        assert all(frame["choices"][0]["finish_reason"] is None for frame in frames)
        assert b"[DONE]" not in answer.body
        assert answer.complete
        await assert_not_ready(world)
        await assert_expires(world, open_holds=1)


@STREAMED
async def test_a_store_that_fails_at_a_void(stream: bool) -> None:
    """When a failed call cannot be voided durably, the caller is told of the store, and the hold expires."""
    async with open_world("openai", sound=False) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        world.journal.broken = True
        await world.devnet._servers[3].stop()
        answer = await caller.answer()

        assert_store_down(answer)
        await assert_expires(world, open_holds=1, status=503)


async def test_a_caller_may_leave_a_failing_store() -> None:
    """A caller who leaves while the store fails is no defect, and the hold expires with the next start."""
    async with open_world("openai", sound=False) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        await world.arrival(1)
        world.journal.broken = True
        caller.leave()
        await until(lambda: not world.gateway.relay.under_way)

        world.clear_faults()
        await assert_not_ready(world)
        await assert_expires(world, open_holds=1)


async def test_models_can_be_listed_without_the_store() -> None:
    """What touches no store goes on while it is down, and a bad key is still a bad key."""
    async with open_world(sound=False) as world:
        world.journal.broken = True
        assert_store_down(await world.chat())

        models = await world.get("/v1/models")
        assert models.status == 200
        assert json.loads(models.body)["data"]
        world.secret = "tg-wrong"
        assert (await world.chat()).status == 401

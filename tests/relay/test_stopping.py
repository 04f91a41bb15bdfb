"""A gateway that stops: calls under way end within a deadline, cut and settled if they have to be, and told so."""

import asyncio

import pytest

from tallygate import app
from tallygate.core.inference import State
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tests.network import scripted_server as script
from tests.relay.test_slow_reader import Fountain, start_stalled
from tests.relay.world import World, charged, cost, open_world, until

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])


@pytest.fixture(autouse=True)
def _cuts_patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a call that is cut minutes to end, whereas a gateway drops it after five seconds: a machine may be slow."""
    monkeypatch.setattr(app, "CUT_S", 120.0)


def stop(world: World, drain_s: float) -> asyncio.Task[None]:
    """Begin to stop a gateway."""
    return asyncio.ensure_future(app._drain(world.gateway, world.server, drain_s))


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_under_way_ends_well(kind: str, stream: bool) -> None:
    """A call that ends before the deadline ends as always, and only then has the gateway stopped."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        stopping = stop(world, 30.0)
        await until(lambda: world.gateway.relay.stopping)

        assert not stopping.done()
        world.clear_faults()
        answer = await caller.answer()
        await stopping
        assert answer.status == 200
        assert charged(world.ending()) == cost(answer.usage["prompt_tokens"], 5).total


async def test_no_new_call_is_taken() -> None:
    """From the signal on, the port refuses connections and kept ones are closed."""
    async with open_world() as world:
        kept = await world.send()
        await kept.answer()
        await stop(world, 30.0)

        assert await kept.raw() == b""
        with pytest.raises(ConnectionError):
            await world.connect()


async def test_a_request_that_was_on_its_way_is_sent_elsewhere() -> None:
    """A request whose head had not been complete at the signal is a 503 to try again, and readiness is gone."""
    async with open_world() as world:
        world.gateway.relay.stopping = True
        answer, ready = await world.chat(), await world.get("/health/ready")

        assert (answer.status, answer.code) == (503, "network_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert (ready.status, ready.json()["reasons"]) == (503, ["the process is stopping"])
        assert world.upstream_calls == 0


@KINDS
async def test_a_stream_is_cut_at_the_deadline(kind: str) -> None:
    """A stream that outlives the deadline is settled for what came, and its caller is told of the cut and its cost."""
    async with open_world(kind) as world:
        world.order("stall_stream", after_frames=4)
        caller = await world.send(stream=True)
        await until(lambda: world.gateway.relay.under_way)
        status, _ = await caller.head()
        await caller.frames(4)
        await stop(world, 0.0)

        event = await caller.event()
        assert status == 200
        assert event is not None
        assert b'"code":"upstream_interrupted"' in event
        assert b'"total_cost_usd"' in event
        assert await caller.event() is None
        assert caller.ended
        assert world.ending().flags == Flag.CUT | Flag.ESTIMATED | Flag.USAGE_MISSING
        assert charged(world.ending()) > 0
        world.clear_faults()


@KINDS
async def test_an_unstreamed_call_is_cut_at_the_deadline(kind: str) -> None:
    """A caller who waits for JSON is told in our shape, under the inference's id, and pays nothing for our stop."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        await stop(world, 0.0)
        answer = await caller.answer()

        assert (answer.status, answer.code) == (503, "network_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-inference-id"] == world.ending().inference
        assert answer.headers["x-request-id"].startswith("req_")
        assert world.ending().kind == e.VOID
        world.clear_faults()


async def test_a_caller_who_leaves_while_the_call_is_cut_changes_nothing() -> None:
    """Once giving the hold back is on its way to the disk, a leaving is no event any more: no defect, one ending."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        await until(lambda: [life for life in world.gateway.relay._under_way if life._inference.state is State.SENT])
        (life,) = world.gateway.relay._under_way
        world.journal.hold_back()
        stopping = stop(world, 0.0)
        await until(lambda: life._ending)
        caller.leave()
        await until(life._first.watch.has_left)
        world.journal.let_go()
        await stopping

        assert life._inference.state is State.VOIDED
        assert world.ending().kind == e.VOID
        world.clear_faults()


async def test_a_call_that_was_not_sent_is_void_at_the_deadline() -> None:
    """A call whose hold is still on its way to the disk is not sent any more, and costs nothing."""
    async with open_world() as world:
        flushes = world.journal.flushes
        world.journal.hold_back()
        caller = await world.send()
        await until(lambda: world.journal.flushes > flushes)
        stopping = stop(world, 0.0)
        await until(lambda: world.gateway.relay.stopping)
        for _ in range(10):
            await asyncio.sleep(0)
        world.journal.let_go()
        answer = await caller.answer()
        await stopping

        assert (answer.status, answer.code) == (503, "network_unavailable")
        assert world.ending().kind == e.VOID
        assert world.upstream_calls == 0


async def test_a_caller_who_does_not_read_cannot_hold_the_stop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose caller does not read at all is settled and dropped, and the gateway stops."""
    fountain = Fountain()
    async with script.serve(fountain.play) as server, open_world() as world:
        await start_stalled(world, server, fountain)
        abort = world.server.abort

        def drop() -> None:
            monkeypatch.setattr(app, "CUT_S", 120.0)  # what is dropped has its time to end
            abort()

        monkeypatch.setattr(app, "CUT_S", 0.2)
        monkeypatch.setattr(world.server, "abort", drop)
        await asyncio.wait_for(stop(world, 0.0), 300)

        assert not world.gateway.relay.under_way
        assert world.ending().kind == e.SETTLE

"""Callers who leave an upstream that bills to the end anyway: the answer is read on, and costs what it says.

An upstream of kind `gonka` does so by itself, one of kind `openai` if the operator says so.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.test_leaving import STREAMED, wait_for_end
from tests.relay.test_streams import prompt_tokens
from tests.relay.world import PATIENT, World, charged, cost, open_world, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])


@contextlib.asynccontextmanager
async def open_draining_world(kind: str, *, left_drain_s: float = 30.0) -> AsyncIterator[World]:
    """Run a world whose first upstream bills every answer to its end."""
    async with open_world(left_drain_s=left_drain_s) as world:
        if kind == "openai":
            network = world.devnet
            upstream = wiring.bearer(network.bearer_url, network.bearer_key, PATIENT, priority=-1, bills_to_end=True)
            await world.add_upstream(upstream)
        yield world


def assert_whole_answer_is_paid(world: World) -> None:
    """Prove that the caller paid what the chain says, and that our books say what the network billed."""
    ending = world.ending()
    assert (ending.kind, ending.flags) == (e.SETTLE, Flag.DRAINED)
    assert charged(ending) == cost(world.devnet_prompt_tokens, 5).total
    assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
    assert world.posted_ngonka(e.COST_UNPAID) == 0


@KINDS
@STREAMED
async def test_leaving_before_the_first_byte_is_drained(kind: str, stream: bool) -> None:
    """A caller who leaves while a node thinks pays what the answer takes, and our books agree with the chain's."""
    async with open_draining_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        assert world.gateway.relay.under_way == 1
        world.clear_faults()

        await wait_for_end(world)
        assert_whole_answer_is_paid(world)


@KINDS
async def test_leaving_at_any_frame_costs_the_whole_answer(kind: str) -> None:
    """However many frames a caller has read, it pays for all that the node bills, to the token."""
    async with open_draining_world(kind) as world:
        for frames in range(1, 7):
            caller = await world.send(stream=True)
            await caller.head()
            await caller.frames(frames)
            caller.leave()

            await wait_for_end(world)
            ending = world.ending()
            assert charged(ending) == cost(world.devnet_prompt_tokens, 5).total, frames
            assert ending.flags in (0, Flag.DRAINED)  # the node may have been faster than the leaving
            assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka


@KINDS
async def test_an_answer_that_does_not_end_is_drained_for_a_while(kind: str) -> None:
    """When the time to drain is over, the prompt and the tokens received until then are charged, estimated."""
    async with open_draining_world(kind, left_drain_s=0.05) as world:
        world.order("stall_stream", after_frames=4)
        caller = await world.send(stream=True)
        await caller.head()
        shown = await caller.frames(4)
        caller.leave()

        await wait_for_end(world)
        world.clear_faults()
        said = "".join(frame["choices"][0]["delta"].get("content", "") for frame in shown)
        tokens = 3 if kind == "gonka" else -(-len(said.encode()) // 3)
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT
        assert charged(world.ending()) == cost(prompt_tokens(world, kind), tokens).total


@STREAMED
async def test_nothing_is_sent_again_for_a_caller_who_has_left(stream: bool) -> None:
    """If the node that was asked gives no answer, the call of a caller who is gone ends there, free of charge."""
    async with open_draining_world("gonka") as world:
        world.order("stall_headers")
        caller = await world.send(stream=stream)
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.clear_faults()  # the node hangs up without a word

        await wait_for_end(world)
        assert world.upstream_calls == 1
        assert (world.ending().kind, world.ending().reason) == (e.VOID, "no_try_left: upstream_error")
        assert world.account.available == world.picousd
        assert world.posted_ngonka(e.COST_UNPAID) > 0  # what it may have billed all the same


async def test_a_stream_that_dies_while_it_is_drained_costs_what_came() -> None:
    """A node that breaks off after the caller has left is charged like one that breaks off before."""
    async with open_draining_world("gonka") as world:
        world.order("barrier", count=1000)
        world.order("cut", after_frames=3, times=None)
        caller = await world.send(stream=True)
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.open_barriers()

        await wait_for_end(world)
        world.clear_faults()
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT | Flag.DRAINED | Flag.USAGE_MISSING
        assert charged(world.ending()) == cost(world.devnet_prompt_tokens, 2).total


@pytest.mark.parametrize("fault", ["truncate", "garbage", "error_event"])
async def test_an_answer_that_cannot_be_used_is_free_also_when_drained(fault: str) -> None:
    """An unstreamed answer that is none costs nothing, whether or not its caller waited for it."""
    async with open_draining_world("gonka") as world:
        world.order("barrier", count=1000)
        world.order(fault, times=None)
        caller = await world.send()
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.open_barriers()

        await wait_for_end(world)
        world.clear_faults()
        assert (world.ending().kind, world.ending().reason) == (e.VOID, "unusable: upstream_error")
        assert world.account.available == world.picousd


async def test_a_gateway_that_stops_does_not_drain_on() -> None:
    """Calls that are drained when a gateway breaks off what is left are charged for what came."""
    async with open_draining_world("gonka") as world:
        world.order("stall_stream", after_frames=3)
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(3)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.gateway.relay.cut()

        await wait_for_end(world)
        world.clear_faults()
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT
        assert charged(world.ending()) == cost(world.devnet_prompt_tokens, 2).total


async def test_a_store_that_fails_while_draining_leaves_the_hold_to_the_next_start() -> None:
    """A drained call that cannot be settled expires when the books are opened again."""
    async with open_world(sound=False) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=True)
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.journal.broken = True
        world.clear_faults()
        await until(lambda: not world.gateway.relay.under_way)
        assert not world.ledger.ready
        await world.stop()
        await world.start()

        assert world.ending().kind == e.EXPIRE
        await world.settle_down()


async def test_leaving_while_a_connection_is_sought_costs_nothing() -> None:
    """As long as no node has been sent anything, a caller can leave for free, and nobody bears a cost."""
    async with script.serve(script.wait_for_leave) as server, open_world() as world:
        # It takes connections and never says a word of TLS.
        upstream = wiring.bearer(f"https://127.0.0.1:{server.port}/v1", "key", PATIENT, priority=-1)
        await world.add_upstream(upstream)
        caller = await world.send(stream=True)
        await until(lambda: server.accepted == 1)
        caller.leave()

        await until(lambda: not world.gateway.relay.under_way)
        assert (world.ending().kind, world.ending().reason) == (e.VOID, "caller_left")
        assert world.account.available == world.picousd
        assert world.posted_ngonka(e.COST_UNPAID) == 0

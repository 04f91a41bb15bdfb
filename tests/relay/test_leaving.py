"""Callers who leave where nothing is drained: the money by the table, nothing held, the upstream let go."""

import asyncio
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.network.gonka import GonkaNode
from tallygate.network.sending import SentAnswer
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.test_streams import prompt_tokens
from tests.relay.world import PATIENT, World, charged, cost, open_world, until

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
STREAMED = pytest.mark.parametrize("stream", [False, True])


async def wait_for_end(world: World) -> None:
    """Wait until no call is under way, nothing is held, and every upstream connection of it is closed."""
    await until(lambda: not world.gateway.relay.under_way and not world.account.held)
    upstreams: Any = world.gateway.upstreams.upstreams
    clients = {repr(up.client if hasattr(up, "client") else up._client) for up in upstreams}
    assert all(client.startswith("<HttpClient 0 busy") for client in clients), clients


@KINDS
@STREAMED
async def test_leaving_before_the_call_is_sent_costs_nothing(kind: str, stream: bool) -> None:
    """A caller who leaves while the hold is on its way to the disk is never sent and never charged."""
    async with open_world(kind) as world:
        world.journal.hold_back()
        flushes = world.journal.flushes
        caller = await world.send(stream=stream)
        await until(lambda: world.journal.flushes > flushes)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.journal.let_go()

        await wait_for_end(world)
        assert world.upstream_calls == 0
        assert world.ending().kind == e.VOID
        assert world.account.available == world.picousd
        assert world.posted_ngonka(e.COST_UNPAID) == 0


@STREAMED
@pytest.mark.parametrize("stops", [False, True])
async def test_leaving_between_two_sendings_costs_nothing(
    stream: bool, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves, or is cut off, while another node is being connected to after a failure is not sent there."""
    send, sendings = GonkaNode.send, 0

    async def send_once(self: Any, *args: Any, **options: Any) -> SentAnswer:
        nonlocal sendings
        sendings += 1
        if sendings > 1:
            await asyncio.Event().wait()  # a connection that does not come about
        return await send(self, *args, **options)

    monkeypatch.setattr(GonkaNode, "send", send_once)
    async with open_world() as world:
        world.order("503")
        caller = await world.send(stream=stream)
        await until(lambda: sendings == 2)
        if stops:
            world.gateway.relay.cut()
        else:
            caller.leave()

        await wait_for_end(world)
        assert (world.upstream_calls, world.ending().kind, charged(world.ending())) == (1, e.VOID, 0)
        assert world.posted_ngonka(e.COST_UNPAID) == 0


@KINDS
@STREAMED
async def test_leaving_before_the_first_byte_costs_the_prompt(kind: str, stream: bool) -> None:
    """A caller who leaves while a node thinks pays the prompt, estimated; the node is let go."""
    async with open_world(kind, left_drain_s=0) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        caller.leave()

        await wait_for_end(world)
        ending = world.ending()
        assert charged(ending) == cost(-(-50 // 3), 0).total
        assert ending.flags == Flag.ESTIMATED | Flag.CUT
        assert ending.kind == e.SETTLE
        world.clear_faults()


@KINDS
async def test_leaving_at_any_frame_costs_what_had_come(kind: str) -> None:
    """After any number of frames a caller pays the prompt and the tokens received from the node until then."""
    async with open_world(kind, left_drain_s=0) as world:
        for frames in range(1, 8):  # the node stops there, so that no more can have been received
            world.order("stall_stream", after_frames=frames)
            caller = await world.send(stream=True)
            await caller.head()
            shown = await caller.frames(min(frames, 6))
            caller.leave()

            await wait_for_end(world)
            world.clear_faults()
            ending, tokens = world.ending(), min(max(frames - 1, 0), 5)
            if kind == "openai":
                said = "".join(frame["choices"][0]["delta"].get("content", "") for frame in shown)
                tokens = -(-len(said.encode()) // 3)
            assert charged(ending) == cost(prompt_tokens(world, kind), tokens).total, frames
            assert ending.flags == Flag.ESTIMATED | Flag.CUT


@KINDS
async def test_leaving_between_the_last_token_and_the_usage_is_no_way_out(kind: str) -> None:
    """A caller who has seen every token and leaves before the usage pays for all of them."""
    async with open_world(kind, left_drain_s=0) as world:
        world.order("stall_stream", after_frames=7)  # all but the usage and [DONE]
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(6)
        caller.leave()

        await wait_for_end(world)
        world.clear_faults()
        counted = 5 if kind == "gonka" else world.ending().completion_tokens or 0
        assert counted >= 4
        assert charged(world.ending()) == cost(prompt_tokens(world, kind), counted).total


@KINDS
@STREAMED
async def test_leaving_while_the_charge_is_committed_changes_nothing(kind: str, stream: bool) -> None:
    """Once the whole answer has come, leaving does not change what it costs."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        world.journal.hold_back()
        flushes = world.journal.flushes
        world.clear_faults()
        await until(lambda: world.journal.flushes > flushes)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        world.journal.let_go()

        await wait_for_end(world)
        assert charged(world.ending()) == cost(world.devnet_prompt_tokens, 5).total
        assert world.ending().flags == 0


@KINDS
@STREAMED
async def test_leaving_after_the_last_byte_changes_nothing(kind: str, stream: bool) -> None:
    """A caller who hangs up after the end has paid for the whole answer, once."""
    async with open_world(kind) as world:
        caller = await world.send(stream=stream)
        answer = await caller.answer()
        caller.leave()

        await wait_for_end(world)
        assert len(world.entries(*e.ENDINGS)) == 1
        assert charged(world.ending()) == cost(answer.usage["prompt_tokens"], 5).total
        assert world.ending().flags == 0


@KINDS
async def test_leaving_during_an_unstreamed_answer_costs_what_a_stream_would(kind: str) -> None:
    """A caller of an unstreamed call who leaves half-way is charged by the same rule, and the node is let go."""
    async with open_world(kind, left_drain_s=0) as world:
        world.order("stall_stream")
        caller = await world.send(max_tokens=200)
        await until(lambda: world.devnet.chain.inferences and world.hosts[0 if kind == "gonka" else 3].under_way)
        await until(lambda: world.billed_ngonka)
        caller.leave()

        await wait_for_end(world)
        world.clear_faults()
        assert world.ending().kind == e.SETTLE
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT
        assert charged(world.ending()) >= cost(1, 0).total


@KINDS
async def test_a_second_call_on_a_connection_is_watched_like_the_first(kind: str) -> None:
    """The end of one call does not stop the watch over the next one on the same connection."""
    async with open_world(kind, left_drain_s=0) as world:
        caller = await world.send(stream=True)
        await caller.answer()
        for stream in (True, False):
            world.order("barrier", count=1000)
            calls = world.upstream_calls
            await world.send(caller, stream=stream)
            await world.arrival(calls + 1)
            if stream:
                world.clear_faults()
                await caller.answer()
        caller.leave()

        await wait_for_end(world)
        world.clear_faults()
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT


async def test_a_call_is_watched_while_the_one_before_it_is_cleaned_up() -> None:
    """A caller who asks again while the first answer's node has not yet ended its body is watched all the same."""
    gate = asyncio.Event()

    async def ends_late(peer: script.Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        frame = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        await peer.send(b"%x\r\n%s\r\n" % (len(frame), frame))
        await gate.wait()
        await peer.send(b"0\r\n\r\n")

    async with script.serve(ends_late, script.wait_for_leave) as server, open_world() as world:
        url = f"http://127.0.0.1:{server.port}/v1"
        await world.add_upstream(wiring.bearer(url, "key", PATIENT, priority=-1))
        caller = await world.send(stream=True)
        await caller.answer()
        await world.send(caller)
        await until(lambda: server.accepted == 2)
        gate.set()
        await until(lambda: world.gateway.relay.under_way == 1)
        caller.leave()

        await until(lambda: not world.gateway.relay.under_way)
        assert world.ending().flags == Flag.ESTIMATED | Flag.CUT


async def test_leaving_a_half_sent_request_is_nothing() -> None:
    """A caller who hangs up in the middle of the body has held nothing and sent nothing."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.send_head("POST", "/v1/chat/completions", {**world.headers(), "content-length": "100"})
        await caller.send_raw(b'{"model":')
        caller.leave()
        await until(lambda: not world.server._state.connections and not world.server._state.tasks)

        assert world.entries(e.HOLD) == []
        assert world.upstream_calls == 0

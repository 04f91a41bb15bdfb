"""Callers who read slowly or not at all: back-pressure as far as the node, bounded memory, and an end all the same."""

import asyncio

import pytest

from tallygate.api import protocol
from tallygate.api import server as server_module
from tallygate.core.ledger import entry as e
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.caller import Caller
from tests.relay.world import PATIENT, World, charged, cost, open_world, until

FRAMES = 6000
END = b"\r\n0\r\n\r\n"
TEXT = b"x" * 4000
FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % TEXT
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Fountain:
    """An upstream that streams megabytes as fast as they are taken, and knows how many were."""

    def __init__(self) -> None:
        self.frames = 0

    async def play(self, peer: script.Peer) -> None:
        """Answer one call."""
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(FRAMES):
            await peer.send(b"%x\r\n%s\r\n" % (len(FRAME), FRAME))
            self.frames += 1
        await peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(LAST), LAST))
        await peer.gone()


async def start_stalled(world: World, server: script.Server, fountain: Fountain) -> Caller:
    """Begin a call that its caller does not read, and wait until nothing moves any more."""
    await world.add_upstream(wiring.bearer(f"http://127.0.0.1:{server.port}/v1", "key", PATIENT, priority=-1))
    caller = await world.connect(receive_bytes=65536)
    await world.send(caller, stream=True)
    await until(lambda: fountain.frames > 0)
    still, seen = 0, 0
    while still < 200:
        await world.get("/health/live")
        still, seen = (still + 1, seen) if fountain.frames == seen else (0, fountain.frames)
    return caller


async def test_a_caller_who_does_not_read_stops_the_node() -> None:
    """The node is paused long before the answer's end, so that what waits is bounded; then all of it comes."""
    fountain = Fountain()
    async with script.serve(fountain.play) as server, open_world() as world:
        caller = await start_stalled(world, server, fountain)

        # Every buffer on the way together (ours, four of the kernel's) is far smaller than the answer.
        assert fountain.frames < FRAMES * 3 // 4
        body = await caller.raw_until(END)
        assert body.count(TEXT) == fountain.frames == FRAMES
        assert body.count(b"data: [DONE]") == 1
        assert b'"estimated":true' in body
        await until(lambda: not world.gateway.relay.under_way)
        assert charged(world.ending()) > 0


async def test_a_caller_who_does_not_read_and_leaves_pays_for_what_was_taken() -> None:
    """Leaving with unread frames ends the call, charged for what had been received from the node, within the hold."""
    fountain = Fountain()
    async with script.serve(fountain.play) as server, open_world() as world:
        caller = await start_stalled(world, server, fountain)
        caller.leave()

        await until(lambda: not world.gateway.relay.under_way)
        (hold,) = world.entries(e.HOLD)
        assert charged(world.ending()) == cost(hold.prompt_tokens or 0, hold.completion_tokens or 0).total
        assert fountain.frames < FRAMES


async def test_comments_do_not_pile_up_before_a_caller_who_does_not_read() -> None:
    """However long a caller stalls, at most one comment waits for them."""
    fountain = Fountain()
    async with script.serve(fountain.play) as server, open_world(keep_alive_s=0.001) as world:
        caller = await start_stalled(world, server, fountain)
        tasks = len(asyncio.all_tasks())
        for _ in range(100):
            await world.get("/health/live")

        assert len(asyncio.all_tasks()) <= tasks + 5
        body = await caller.raw_until(END)
        assert body.count(TEXT) == FRAMES


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_a_long_answer_read_late_is_whole(kind: str) -> None:
    """A caller who begins to read only after a while gets every token of a long answer, charged exactly."""
    async with open_world(kind) as world:
        caller = await world.connect(receive_bytes=65536)
        question = [{"role": "user", "content": "Write 2000 words, please."}]
        await world.send(caller, stream=True, messages=question, max_tokens=4000)
        await until(lambda: world.devnet.chain.inferences)
        for _ in range(100):
            await world.get("/health/live")
        answer = await caller.answer()

        assert len(answer.text.split()) == 2000
        (inference,) = world.devnet.chain.inferences.values()
        assert charged(world.ending()) == cost(inference.prompt_tokens, inference.completion_tokens).total


async def test_a_caller_who_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while without a byte read, the connection is dropped and the call ends like one whose caller has left."""
    monkeypatch.setattr(server_module, "SWEEP_S", 0.02)
    fountain = Fountain()
    async with script.serve(fountain.play) as server, open_world() as world:
        await start_stalled(world, server, fountain)
        assert world.gateway.relay.under_way == 1

        monkeypatch.setattr(protocol, "STALL_S_MAX", 0.05)
        await until(lambda: not world.gateway.relay.under_way)
        assert world.ending().kind == e.SETTLE

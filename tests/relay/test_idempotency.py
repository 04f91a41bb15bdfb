"""Whole calls with an `Idempotency-Key`: sent to the network once, charged once, answered the same each time."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tallygate.api.public import CHAT
from tallygate.core.bounding import ModelCard
from tallygate.core.idempotency import Digests, meaning_of
from tallygate.core.ledger import entry as e
from tallygate.core.openai import parse_chat_request
from tallygate.relay import Call, replay
from tests.relay.world import MODEL, World, charged, chat_body, open_world, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.relay.caller import Answer

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
STREAMED = pytest.mark.parametrize("stream", [False, True])


def assert_replayed(first: Answer, again: Answer) -> None:
    """Check that an answer is another one's replay: the same bytes, under a request id of its own."""
    own = {"x-request-id", "date", "x-tallygate-replayed"}
    assert (again.status, again.body, again.complete) == (first.status, first.body, True)
    assert {n: v for n, v in again.headers.items() if n not in own} == {
        n: v for n, v in first.headers.items() if n not in own
    }
    assert again.headers["x-tallygate-replayed"] == "true"
    assert "x-tallygate-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


def assert_already_charged(world: World, answer: Answer) -> None:
    """Check that a call is refused since it was charged, with what it cost, and is not to be retried."""
    ending = world.ending()
    assert (answer.status, answer.code) == (409, "idempotency_already_charged")
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-inference-id"] == ending.inference
    told = answer.json()["error"]["metadata"]
    assert told["inference_id"] == ending.inference
    assert Decimal(told["total_cost_usd"]) * 10**12 == charged(ending)


@KINDS
@STREAMED
async def test_call_is_answered_again_from_memory(kind: str, stream: bool) -> None:
    """Asked again, a call costs nothing and reaches no node: the same status, headers and bytes, with no money left."""
    async with open_world(kind, picousd=0) as world:
        refused = await world.chat(stream=stream, key="k")
        required = Decimal(refused.json()["error"]["metadata"]["required_usd"])
        await world.ledger.deposit(world.account.id, int(required * 10**12), None, "test")
        first = await world.chat(stream=stream, key="k")
        assert (refused.status, first.status) == (402, 200)
        assert world.account.available < int(required * 10**12)

        again = [await world.chat(stream=stream, key="k") for _ in range(3)]
        for answer in again:
            assert_replayed(first, answer)
        assert world.upstream_calls == 1
        assert len(world.entries(e.HOLD)) == len(world.entries(e.SETTLE)) == 1
        assert (await world.chat(stream=stream, key="k2")).status == 402


@STREAMED
async def test_answer_in_many_pieces_is_the_same_answer(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is given again piece by piece has the same head and the same bytes on the wire."""
    monkeypatch.setattr(replay, "PIECE_BYTES", 50)
    async with open_world() as world:
        first = await world.chat(stream=stream, key="k")

        assert_replayed(first, await world.chat(stream=stream, key="k"))


@KINDS
async def test_identical_calls_at_once_are_one(kind: str) -> None:
    """Of many calls under one key at once one is sent; the others are told to ask again, and then get its answer."""
    async with open_world(kind) as world:
        world.order("barrier", count=1000)
        callers = [await world.send(key="k") for _ in range(9)]
        await world.arrival(1)
        await until(lambda: world.gateway.relay.under_way == 1)
        told = [await (await world.send(key="k")).answer() for _ in range(2)]
        for answer in told:
            assert (answer.status, answer.code) == (409, "idempotency_in_progress")
            assert answer.headers["retry-after"] == "1"
            assert "x-should-retry" not in answer.headers
        world.clear_faults()
        answers = [await caller.answer() for caller in callers]
        (first,) = [answer for answer in answers if answer.status == 200]
        assert {answer.code for answer in answers if answer is not first} == {"idempotency_in_progress"}
        assert_replayed(first, await world.chat(key="k"))
        assert world.upstream_calls == len(world.entries(e.HOLD)) == 1


async def test_the_same_request_is_one_that_means_the_same() -> None:
    """Another order of members and an alias in other letters are replayed; another question is refused, always."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        caller = await world.send(key="k", max_tokens=5)
        await world.arrival(1)
        other = await world.chat(key="k", max_tokens=6)
        assert (other.status, other.code) == (422, "idempotency_key_reused")
        world.clear_faults()
        first = await caller.answer()

        assert (await world.chat(key="k", stream=True)).status == 422
        content = [{"role": "user", "content": "What is a ledger?"}]
        same = await world.chat(key="k", max_tokens=None, max_completion_tokens=5, n=1, messages=content)
        assert_replayed(first, same)
        assert world.upstream_calls == 1


@pytest.mark.parametrize(
    ("fault", "stream"), [("400", False), ("400", True), ("garbage", False), ("refuse", True), ("error_event", True)]
)
async def test_call_that_was_not_charged_can_be_sent_again(fault: str, stream: bool) -> None:
    """After a failure that gave the money back, the same key begins a new call, and stands for that one."""
    async with open_world("openai") as world:
        world.order(fault, times=1, after_frames=0)
        failed = await world.chat(stream=stream, key="k")
        assert failed.status >= 400
        served = await world.chat(stream=stream, key="k")
        assert (served.status, "x-tallygate-replayed" in served.headers) == (200, False)
        assert_replayed(served, await world.chat(stream=stream, key="k"))
        assert len(world.entries(e.SETTLE)) == 1


async def test_stream_that_died_is_replayed_as_it_was() -> None:
    """An answer that broke off was charged for what had come, so asked again it is the same, error event and all."""
    async with open_world("openai") as world:
        world.order("cut", after_frames=3, times=1)
        first = await world.chat(stream=True, key="k")
        assert first.chunks[-1]["error"]["code"] == "upstream_interrupted"
        assert_replayed(first, await world.chat(stream=True, key="k"))
        assert len(world.entries(e.SETTLE)) == world.upstream_calls == 1


@STREAMED
async def test_caller_that_comes_back_gets_what_was_read_on(stream: bool) -> None:
    """Where an answer is read to its end though its caller has left, the caller can come back for it with its key."""
    async with open_world("gonka") as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream, key="k")
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.server._state.connections)
        waiting = await world.chat(stream=stream, key="k")
        assert waiting.code == "idempotency_in_progress"
        world.clear_faults()
        await until(lambda: not world.gateway.relay.under_way)
        back = await world.chat(stream=stream, key="k")

        assert (back.status, back.headers["x-tallygate-replayed"]) == (200, "true")
        assert back.headers["x-inference-id"] == world.ending().inference
        assert Decimal(back.usage["total_cost_usd_exact"]) * 10**12 == charged(world.ending())
        assert world.upstream_calls == len(world.entries(e.SETTLE)) == 1
        if stream:
            assert back.body.endswith(b"data: [DONE]\n\n")


@STREAMED
async def test_caller_that_comes_back_for_a_cut_answer_is_told_its_cost(stream: bool) -> None:
    """Where the answer was cut when its caller left, the key says what was charged, and nothing is sent again."""
    async with open_world("openai") as world:
        world.order("barrier", count=1000)
        caller = await world.send(stream=stream, key="k")
        await world.arrival(1)
        caller.leave()
        await until(lambda: not world.gateway.relay.under_way)
        world.clear_faults()
        assert_already_charged(world, await world.chat(stream=stream, key="k"))
        assert world.upstream_calls == len(world.entries(e.SETTLE)) == 1


class SlowCaller:
    """A sink that takes the end of a stream only when it is let."""

    def __init__(self) -> None:
        self.body = b""
        self.at_the_end = False
        self.lets_go = asyncio.Event()

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Take the head."""

    async def write(self, data: bytes) -> None:
        """Take a piece; the last one after a while."""
        if data.endswith(b"[DONE]\n\n"):
            self.at_the_end = True
            await self.lets_go.wait()
        self.body += data

    async def finish(self) -> None:
        """Take the end."""

    async def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Take a whole answer."""

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Never leave."""


async def test_answer_is_not_gone_while_it_is_on_its_way() -> None:
    """While the first caller still takes the end of its answer, who asks again is told to wait, and then gets it."""
    async with open_world() as world:
        chat, (key,), caller = parse_chat_request(chat_body(stream=True)), world.ledger.keys(), SlowCaller()
        claim = Digests(world.pepper).claim(b"k", (key.account, key.id, CHAT), meaning_of(chat, MODEL))
        call = Call("req_1", key, chat, ModelCard(MODEL), claim)
        first = asyncio.ensure_future(world.gateway.relay.relay(call, caller))
        await until(lambda: caller.at_the_end)
        assert len(world.entries(e.SETTLE)) == 1
        assert (await world.chat(stream=True, key="k")).code == "idempotency_in_progress"
        caller.lets_go.set()
        await first
        assert (await world.chat(stream=True, key="k")).body == caller.body


@STREAMED
async def test_restart_remembers_the_charge_but_not_the_answer(stream: bool) -> None:
    """After a restart the same key is told what the call cost, exactly; another request is refused as before."""
    async with open_world() as world:
        first = await world.chat(stream=stream, key="k")
        await world.stop()
        await world.start()
        again = await world.chat(stream=stream, key="k")
        assert_already_charged(world, again)
        assert again.headers["x-inference-id"] == first.headers["x-inference-id"]
        assert first.usage["total_cost_usd_exact"] == again.json()["error"]["metadata"]["total_cost_usd"]
        assert (await world.chat(stream=not stream, key="k")).status == 422
        assert world.upstream_calls == 1


async def test_crash_frees_the_key_with_the_hold() -> None:
    """A call that was under way when the process died is not charged, so its key begins a new one."""
    async with open_world() as world:
        world.order("barrier", count=1000)
        await world.send(key="k")
        await world.arrival(1)
        world.journal.broken = True  # nothing more reaches the disk, as if the process were gone
        await world.stop()
        world.clear_faults()
        await world.start()
        assert [entry.kind for entry in world.entries(*e.ENDINGS)] == [e.EXPIRE]
        assert (await world.chat(key="k")).status == 200
        assert len(world.entries(e.SETTLE)) == 1


async def test_neither_key_nor_answer_is_kept_of_a_call_without_one() -> None:
    """A call without a key leaves no claim, and its answer is not kept; with one, only digests are stored."""
    async with open_world() as world:
        await world.chat()
        assert (world.disk.claims, repr(world.gateway.relay.replays)) == ({}, "<Replays 0 kept, 0 under way, 0 bytes>")
        await world.chat(key="a-key-that-nobody-may-see")
        (claimed,) = world.disk.claims.values()
        assert claimed.subject == world.ending().inference
        assert (len(claimed.digest), len(claimed.request), claimed.picousd) == (32, 32, charged(world.ending()))


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
async def test_what_is_no_key_is_refused(key: str) -> None:
    """A header that is no key is refused by its name, before the body is looked at."""
    async with open_world() as world:
        caller = await world.connect()
        headers = {**world.headers(), "idempotency-key": key}
        await caller.request("POST", "/v1/chat/completions", headers, b"{")
        answer = await caller.answer()
        assert (answer.status, answer.code) == (400, "invalid_value")
        assert answer.json()["error"]["param"] == "Idempotency-Key"

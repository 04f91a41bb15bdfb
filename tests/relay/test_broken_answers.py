"""Answers that cannot be used: truncated, garbage, hostile. The caller gets a 502 and pays nothing."""

import asyncio
import json
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.caller import Answer
from tests.relay.world import PATIENT, World, charged, cost, open_world, until

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
STREAMED = pytest.mark.parametrize("stream", [False, True])
DEEP = b'{"choices":' + b"[" * 300_000 + b"]" * 300_000 + b"}"


def assert_void(world: World, answer: Answer) -> None:
    """Check that the call failed as unusable and cost nothing; what it may have cost us is in our book."""
    assert (answer.status, answer.code) == (502, "upstream_error"), answer
    assert answer.headers["x-inference-id"] == world.ending().inference
    assert world.ending().kind == e.VOID
    assert world.posted_ngonka(e.COST_UNPAID) > 0
    assert world.posted_ngonka(e.COST_PAID) == 0


async def play(world: World, server: script.Server) -> None:
    """Put a scripted upstream before all others."""
    upstream = wiring.bearer(f"http://127.0.0.1:{server.port}/v1", "key", PATIENT, priority=-1)
    await world.add_upstream(upstream)


@KINDS
@pytest.mark.parametrize("fault", ["cut", "truncate", "garbage", "error_event"])
async def test_an_unstreamed_answer_that_is_none_is_void(kind: str, fault: str) -> None:
    """A truncated body, garbage, or a 200 with an error in it is a 502, tried once and not charged."""
    async with open_world(kind) as world:
        world.order(fault)
        assert_void(world, await world.chat())

        assert world.upstream_calls == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":[{"index":0}]}',
        b'{"choices":[{"message":null}]}',
        b'{"choices":[{"message":5}]}',
        b'{"choices":[5]}',
        b'{"choices":[{"message":{"role":"assistant","content":"\xff"}}]}',
        b'{"choices":[{"message":{"content":"hi"}}],"error":{"message":"no"}}',
        b"\x00" * 100,
        DEEP,
        b'{"choices":[{"message":' + DEEP + b"}]}",
    ],
    ids=range(15),
)
async def test_any_body_that_is_no_answer_is_void(body: bytes) -> None:
    """Whatever stands in a 200, what is no chat answer is a 502 and never a defect of ours."""
    async with script.serve(script.answers(script.answer(body))) as server, open_world() as world:
        await play(world, server)

        assert_void(world, await world.chat())
        assert world.upstream_calls == 0


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt_token_ids": 5},
        {"prompt_token_ids": "ab"},
        {"usage": 5},
        {"usage": []},
        {"usage": {"prompt_tokens": {}, "completion_tokens": []}},
        {"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}},
        {"usage": {"prompt_tokens": True, "completion_tokens": True}},
        {"logprobs": 7},
    ],
    ids=range(8),
)
@STREAMED
async def test_odd_extras_do_not_spoil_an_answer(extra: dict[str, Any], stream: bool) -> None:
    """An answer whose usage or node data make no sense is served, and charged by our own count, marked as such."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    choice["delta" if stream else "message"] = {"role": "assistant", "content": "abcdef"}
    body = json.dumps({"choices": [choice], **extra}).encode()
    if stream:
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    async with script.serve(script.answers(script.answer(body))) as server, open_world() as world:
        await play(world, server)
        answer = await world.chat(stream=stream)

        assert answer.status == 200
        assert answer.usage["estimated"] is True
        assert answer.usage["completion_tokens"] == 2
        assert charged(world.ending()) == cost(answer.usage["prompt_tokens"], 2).total


@STREAMED
async def test_an_empty_answer_is_tried_once_more_and_then_void(stream: bool) -> None:
    """A 200 without a byte of body is a failure before the first byte: one risky retry, then 502."""
    empty = script.answers(script.answer(b""), script.answer(b""))
    async with script.serve(empty) as server, open_world() as world:
        await play(world, server)
        world.order("hang_up", times=None)
        answer = await world.chat(stream=stream)

        assert_void(world, answer)
        assert (server.accepted, world.upstream_calls) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b'data: {"error":{"message":"overloaded"}}\n\n',
        b"data: not json\n\n",
        b"data: [DONE]\n\n"[:7],
        b": comment\n\n",
        b"data: " + DEEP + b"\n\n",
        b'data: {"choices":[]}\n\n',
        b'{"choices":[{"message":{"content":"unstreamed"}}]}',
        b"data: " + b"x" * (2**20 + 1) + b"\n\n",
    ],
    ids=range(9),
)
async def test_a_stream_without_any_choice_is_void(body: bytes) -> None:
    """A stream that fails before it has said anything is a plain 502, not a stream, and not charged."""
    async with script.serve(script.answers(script.answer(body))) as server, open_world() as world:
        await play(world, server)
        answer = await world.chat(stream=True)

        assert_void(world, answer)
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [DEEP, b"\xff" * 100, b"", b'{"error":{"message":' + DEEP + b"}}"], ids=range(4))
@pytest.mark.parametrize("status", [b"400 Bad", b"500 Bad", b"429 Bad", b"204 Bad", b"418 Bad"])
async def test_any_error_body_is_survived(status: bytes, body: bytes) -> None:
    """An error status means what it means, whatever body comes with it."""
    if status.startswith(b"204"):
        body = b""
    error = script.answer(body, status=status)
    async with script.serve(script.answers(error, error)) as server, open_world("openai") as world:
        await play(world, server)
        world.order("503", times=None)
        answer = await world.chat()

        assert answer.status in {400, 502, 503}
        assert world.ending().kind == e.VOID


async def test_an_answer_that_does_not_end_is_bounded() -> None:
    """An unstreamed answer without end is given up at a bound, not collected."""

    async def flood(peer: script.Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
        for _ in range(80):
            await peer.send(piece)

    async with script.serve(flood) as server, open_world() as world:
        await play(world, server)
        assert_void(world, await world.chat())


@pytest.mark.parametrize(
    "frame", [b"data: {bad\n\n", b'data: {"choices":5}\n\n', b"data: " + DEEP + b"\n\n"], ids="abc"
)
async def test_garbage_in_a_stream_ends_it(frame: bytes) -> None:
    """A frame that is none ends the stream with an error event; what had come is charged."""
    body = b'data: {"choices":[{"index":0,"delta":{"content":"abcdef"}}]}\n\n' + frame + b"data: [DONE]\n\n"
    async with script.serve(script.answers(script.answer(body))) as server, open_world() as world:
        await play(world, server)
        answer = await world.chat(stream=True)

        *_, last = answer.chunks
        assert last["error"]["code"] == "upstream_interrupted"
        assert last["usage"]["completion_tokens"] == 2
        assert b"[DONE]" not in answer.body
        assert charged(world.ending()) == cost(last["usage"]["prompt_tokens"], 2).total
        assert world.ending().flags & Flag.CUT


async def test_a_stream_that_ends_without_a_finish_is_given_one() -> None:
    """After `[DONE]` without any finish chunk the caller still sees one, with the usage."""
    body = b'data: {"choices":[{"index":0,"delta":{"content":"abcdef"}}]}\n\ndata: [DONE]\n\n'
    async with script.serve(script.answers(script.answer(body))) as server, open_world() as world:
        await play(world, server)
        answer = await world.chat(stream=True)

        assert answer.chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert answer.usage["completion_tokens"] == 2


async def test_what_follows_the_end_of_a_stream_is_not_shown() -> None:
    """Bytes after `[DONE]` reach nobody, and hold nothing up."""
    gate = asyncio.Event()

    async def late(peer: script.Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        frame = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
        await peer.send(b"%x\r\n%s\r\n" % (len(frame), frame))
        await gate.wait()
        await peer.send(b"10\r\ndata: too late\n\n\r\n0\r\n\r\n")

    async with script.serve(late) as server, open_world() as world:
        await play(world, server)
        answer = await world.chat(stream=True)

        assert answer.complete
        assert answer.events[-1] == b"[DONE]"
        gate.set()
        await until(lambda: not world.gateway.relay.under_way)

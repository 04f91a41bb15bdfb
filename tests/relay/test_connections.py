"""Callers' connections: pipelined, malformed, slow; whatever comes, every answer is whole and has our request id."""

import json

import pytest

from tallygate.core.ledger import entry as e
from tests.relay.world import World, chat_body, open_world, until


def raw_request(world: World, **fields: object) -> bytes:
    """Return the bytes of a chat request."""
    body = chat_body(**fields)
    head = "".join(f"{name}: {value}\r\n" for name, value in world.headers().items())
    return f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests sent at once on one connection are answered one after the other, each whole and each charged."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.send_raw(b"".join(raw_request(world, stream=True, max_tokens=tokens) for tokens in (1, 2, 3)))
        data = b""
        while data.count(b"[DONE]") < 3:
            data += await caller.raw_until(b"0\r\n\r\n")

        assert data.count(b"HTTP/1.1 200 OK") == 3
        assert [entry.completion_tokens for entry in world.entries(e.SETTLE)] == [1, 2, 3]


async def test_leaving_with_requests_in_the_pipe_ends_them_all() -> None:
    """A caller who leaves with further requests waiting on the connection is charged for the first one only."""
    async with open_world("openai") as world:
        world.order("barrier", count=1000)
        caller = await world.connect()
        await caller.send_raw(raw_request(world) * 3)
        await world.arrival(1)
        caller.leave()

        await until(lambda: not world.gateway.relay.under_way)
        world.clear_faults()
        assert len(world.entries(e.HOLD)) == len(world.entries(e.SETTLE)) == 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: g\r\n: x\r\n\r\n", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: g\r\nx: " + b"a" * 70_000, 431),
    ],
    ids=range(5),
)
async def test_what_is_no_http_is_refused_in_our_shape(request_bytes: bytes, status: int) -> None:
    """Even what cannot be read as a request gets an error in OpenAI's shape, with a request id of ours."""
    async with open_world() as world:
        caller = await world.connect()
        await caller.send_raw(request_bytes)
        head, _, body = (await caller.raw()).partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nx-request-id: req_" in head
        assert b"\r\nconnection: close" in head
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_a_refusal_keeps_the_connection_where_it_can() -> None:
    """After a refusal that read the whole request, or that had none to read, the connection serves on."""
    async with open_world() as world:
        caller = await world.send(max_tokens=0)
        refused = await caller.answer()
        await caller.request("GET", "/v1/nope", world.headers())
        unknown = await caller.answer()
        served = await (await world.send(caller)).answer()

        assert (refused.status, unknown.status, served.status) == (400, 404, 200)

"""Who is let in at the last moment: after the body has come, before anything is set aside."""

import asyncio

import pytest

from tallygate.api.http import Request
from tallygate.core.access import ApiKey
from tallygate.core.ledger import entry as e
from tests.relay.world import World, chat_body, open_world, until


async def begin_upload(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send the head of a good call and the first half of its body; once its key was found good, return the rest."""
    body = chat_body()
    admitted: list[ApiKey] = []
    callers = world.gateway.public._callers
    authenticate = callers.authenticate

    def note(request: Request) -> ApiKey:
        key = authenticate(request)
        admitted.append(key)
        return key

    callers.authenticate = note  # type: ignore[method-assign]
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in world.headers().items())
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head.encode() + b"\r\n" + body[:20])
    await writer.drain()
    await until(lambda: admitted)
    return reader, writer, body[20:]


async def finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> bytes:
    """Send the rest of a body and return the status line of the answer."""
    writer.write(rest)
    line = await asyncio.wait_for(reader.readline(), 120)
    writer.close()
    return line


async def test_a_key_that_is_revoked_while_the_body_comes_spends_nothing() -> None:
    """A revoked key is refused though its request had begun, and nothing is held or sent."""
    async with open_world() as world:
        upload = await begin_upload(world)
        (key,) = world.ledger.keys()
        await world.ledger.revoke_key(key.id, "test")

        assert b" 401 " in await finish(*upload)
        assert world.entries(e.HOLD) == []
        assert world.upstream_calls == 0


async def test_a_stopping_gateway_takes_no_call_whose_body_still_comes() -> None:
    """A call that had begun to arrive before the stop is refused when it is there: the books may be closing."""
    async with open_world() as world:
        upload = await begin_upload(world)
        world.gateway.relay.stopping = True

        assert b" 503 " in await finish(*upload)
        assert world.entries(e.HOLD) == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_gateway_refuses_for_a_moment(stream: bool) -> None:
    """With as many calls under way as may be, the next gets 503; when one has ended, it is served."""
    async with open_world() as world:
        world.gateway.relay._calls_max = 1
        world.order("barrier", count=1000)
        waiting = await world.send(stream=stream)
        await world.arrival(1)
        refused = await world.chat()
        world.clear_faults()

        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "network_unavailable", "1")
        assert (await waiting.answer()).status == 200
        assert (await world.chat()).status == 200


async def test_no_call_is_sent_a_third_time_after_two_possible_charges() -> None:
    """A stale connection and then a lost one are two sendings that may be billed; another node is not tried."""
    async with open_world("gonka") as world:
        for _ in range(3):
            assert (await world.chat()).status == 200  # every node has a connection that can go stale
        before = world.upstream_calls
        for host in range(3):
            world.order("refuse", host=host, times=5)
        answer = await world.chat()

        assert (answer.status, answer.code) == (502, "upstream_error")
        assert world.upstream_calls - before == 2

"""A real engine behind the nodes: here the Bearer gateway of a second devnet."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings, RemoteEngine
from tests.devnet.conftest import CHAT, HandClock, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import control, request

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def behind(settings: DevnetSettings) -> AsyncIterator[Devnet]:
    """Lend the devnet whose Bearer gateway is the engine."""
    async with Devnet(replace(settings, seed=2), now_ns=HandClock()) as devnet:
        yield devnet


@pytest.fixture
async def front(settings: DevnetSettings, behind: Devnet) -> AsyncIterator[World]:
    """Lend a world whose nodes ask that engine."""
    clock = HandClock()
    engine = RemoteEngine(behind.bearer_url, behind.bearer_key)
    async with Devnet(settings, now_ns=clock, engine=engine) as devnet:
        yield World(devnet, clock)


async def order(devnet: Devnet, fault: str, **fields: Any) -> None:
    """Orders a fault of the engine."""
    await control(devnet.bearer_url.removesuffix("/v1"), "POST", "faults", {"fault": fault, **fields})


@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"tools": [TOOL], "tool_choice": "required"}])
async def test_the_engines_answer_is_the_nodes(front: World, world: World, fields: dict[str, Any]) -> None:
    """Streamed or not, callers get what the engine says, and pay for the tokens that it counts."""
    expected = (await world.chat(**fields)).json()
    whole = (await front.chat(**fields)).json()
    assert [choice["message"] for choice in whole["choices"]] == [choice["message"] for choice in expected["choices"]]
    assert whole["usage"] == expected["usage"]
    assert whole["id"] in front.devnet.chain.inferences
    stream = await front.chat(stream=True, **fields)
    assert stream.done()
    assert stream.frames()[-1]["usage"] == expected["usage"]
    assert front.spent() == 2 * expected["usage"]["total_tokens"]


async def test_the_engines_own_count_is_what_is_paid(front: World, behind: Devnet) -> None:
    """Whatever we would count, the chain is told the engine's count."""
    await order(behind, "wrong_usage", usage={"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8})
    assert (await front.chat()).json()["usage"]["total_tokens"] == 8
    assert front.spent() == 8


async def test_an_engine_that_counts_nothing(front: World, behind: Devnet) -> None:
    """Without a count of its own, devnet's rule counts."""
    await order(behind, "usage_absent")
    usage = (await front.chat()).json()["usage"]
    assert front.spent() == usage["total_tokens"] > 0


async def test_a_payload_that_the_engine_rejects(front: World, behind: Devnet) -> None:
    """A 400 is passed on in a node's words, before any byte of a stream, and one prompt token is paid."""
    await order(behind, "400", message="too long")
    answer = await front.chat(stream=True)
    assert answer.status == 400
    assert answer.json()["error"].startswith("Inference node response with an error. code = 400. error = {")
    assert "too long" in answer.json()["error"]
    assert front.spent() == 1


@pytest.mark.parametrize("fault", ["502", "401", "429"])
async def test_any_other_refusal_is_a_500(front: World, behind: Devnet, fault: str) -> None:
    """The node has started an inference and finishes none: it expires, and costs nothing."""
    await order(behind, fault)
    answer = await front.chat()
    assert answer.status == 500
    assert answer.json()["error"].startswith(f"Inference node response with an error. code = {fault}. error = ")
    await control(front.url, "POST", "clock", {"skip_blocks": 21})
    (inference,) = (await front.state())["inferences"]
    assert (inference["status"], front.spent()) == ("EXPIRED", 0)


async def test_an_engine_that_is_not_there(settings: DevnetSettings) -> None:
    """A node whose engine cannot be reached has no inference nodes."""
    clock = HandClock()
    async with Devnet(settings, now_ns=clock, engine=RemoteEngine("http://127.0.0.1:9/v1")) as devnet:
        answer = await World(devnet, clock).chat()
    assert (answer.status, answer.json()) == (503, {"error": "no inference nodes available"})


@pytest.mark.parametrize("fault", ["cut", "error_event", "garbage_frame", "reset"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_an_engine_that_breaks_off(front: World, behind: Devnet, fault: str, streamed: bool) -> None:
    """The node's answer breaks off too, and what was said so far is paid."""
    full = (await front.chat()).json()["usage"]["total_tokens"]
    await order(behind, fault, after_frames=4)
    wire = await front.open_chat(stream=streamed)
    data = await wire.receive_raw()
    wire.leave()
    assert b"[DONE]" not in data
    assert 0 < front.spent() - full < full


async def test_pieces_of_any_size_are_read(front: World, behind: Devnet) -> None:
    """However the engine's bytes are cut, the answer is whole."""
    expected = (await front.chat()).json()["choices"]
    await order(behind, "split_frames", times=2)
    assert (await front.chat()).json()["choices"] == expected


async def test_a_bearer_gateway_has_the_engine_too(front: World, behind: Devnet) -> None:
    """It passes an engine's 400 on and makes a 502 of everything else; neither costs tokens."""
    url = front.devnet.bearer_url.removesuffix("/v1")
    key = {"authorization": f"Bearer {front.devnet.bearer_key}"}
    await order(behind, "400", message="too long")
    await order(behind, "503")
    seen = [await request(url, "POST", CHAT, key, chat_body()) for _ in range(3)]
    assert [answer.status for answer in seen] == [400, 502, 200]
    costs = [inference.tokens_ngonka for inference in front.devnet.chain.inferences.values()]
    assert costs[:2] == [0, 0]
    assert costs[2] > 0


async def test_calls_do_not_wait_for_each_other(front: World, behind: Devnet) -> None:
    """Many calls are with the engine at once."""
    await order(behind, "barrier", count=5)
    answers = await asyncio.gather(*(front.chat() for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5

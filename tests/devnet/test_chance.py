"""Faults by node, by probability and by script, and one number that makes the world."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tallygate.devnet import Devnet, DevnetSettings, NodeSettings
from tests.devnet.conftest import HandClock, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import control, request


async def statuses(world: World, count: int, index: int = 0) -> list[int]:
    """Makes some calls and gives their statuses."""
    return [(await world.chat(index)).status for _ in range(count)]


@pytest.fixture
def settings() -> DevnetSettings:
    """A devnet of two nodes that take the same scheme."""
    return DevnetSettings(base_port=0, pace_ms=0, nodes=(NodeSettings(), NodeSettings()))


async def test_a_fault_can_be_ordered_of_another_node(world: World) -> None:
    """By its number, its address or its URL; the port that was told is not concerned."""
    other = world.devnet.nodes[1]
    for name in (1, "1", other.address, other.url, f"{other.url}/v1"):
        await world.order("503", node=name)
        assert await statuses(world, 1) == [200]
        assert await statuses(world, 2, 1) == [503, 200]


async def test_a_fault_can_be_ordered_of_all(world: World) -> None:
    """`all` is every node and the Bearer gateway, and deletes everywhere too."""
    await world.order("503", node="all", times=None)
    url = world.devnet.bearer_url.removesuffix("/v1")
    key = {"authorization": f"Bearer {world.devnet.bearer_key}"}
    assert await statuses(world, 1) + await statuses(world, 1, 1) == [503, 503]
    assert (await request(url, "POST", "/v1/chat/completions", key, chat_body())).status == 503
    await control(url, "DELETE", "faults", {"node": "all"})
    assert await statuses(world, 1) + await statuses(world, 1, 1) == [200, 200]
    assert (await request(url, "POST", "/v1/chat/completions", key, chat_body())).status == 200


async def test_an_unknown_node_is_named(world: World) -> None:
    """A node that is not there is a 400 that says which there are."""
    answer = await request(world.url, "POST", "/devnet/faults", {}, b'{"fault": "503", "node": 7}')
    assert (answer.status, answer.json()["field"]) == (400, "node")
    assert "all, 0, 1, bearer" in answer.json()["error"]


async def test_a_script_says_what_each_call_meets(world: World) -> None:
    """Steps come one by one, null is a call that meets nothing, and after the last one all is well."""
    await control(world.url, "POST", "faults", {"script": ["429", None, {"fault": "503", "message": "busy"}]})
    answers = [await world.chat() for _ in range(4)]
    assert [answer.status for answer in answers] == [429, 200, 503, 200]
    assert answers[2].json() == {"error": "busy"}


async def test_a_script_goes_before_ordered_faults(world: World) -> None:
    """While a script runs, what was ordered besides waits, for null too."""
    await world.order("502")
    await world.order("usage_absent")
    await control(world.url, "POST", "faults", {"script": [None, "garbage"]})
    first, second = await world.chat(), await world.chat()
    assert first.json()["usage"]["total_tokens"] > 0
    assert b"not json" in second.body
    assert await statuses(world, 1) == [502]
    assert "usage" not in (await world.chat()).json()


async def test_a_script_can_repeat(world: World) -> None:
    """With `repeat` it begins again, until it is deleted."""
    await control(world.url, "POST", "faults", {"script": ["429", None], "repeat": True})
    assert await statuses(world, 5) == [429, 200, 429, 200, 429]
    await control(world.url, "DELETE", "faults")
    assert await statuses(world, 2) == [200, 200]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"script": "429"}, "script"),
        ({"script": ["nonsense"]}, "script[0].fault"),
        ({"script": [None, 5]}, "script[1]"),
        ({"script": [{"fault": "cut", "after_frames": -1}]}, "script[0].after_frames"),
        ({"script": [{"fault": "cut", "times": 2}]}, "script[0].times"),
        ({"script": [], "fault": "cut"}, "fault"),
        ({"fault": "cut", "probability": 1.5}, "probability"),
        ({"fault": "cut", "probability": True}, "probability"),
        ({"fault": "huge_frame", "size_bytes": 10**9}, "size_bytes"),
    ],
)
async def test_wrong_orders(world: World, fields: dict[str, Any], name: str) -> None:
    """Whatever is wrong is named by its place."""
    answer = await request(world.url, "POST", "/devnet/faults", {}, json.dumps(fields).encode())
    assert (answer.status, answer.json()["field"]) == (400, name)


async def run_world(settings: DevnetSettings) -> list[Any]:
    """Plays the same calls in a world: with chance, on two nodes and the Bearer gateway."""
    clock = HandClock()
    async with Devnet(settings, now_ns=clock) as devnet:
        world = World(devnet, clock)
        await world.order("503", probability=0.5, node="all")
        await world.order("split_frames", probability=0.5, node="all")
        seen: list[Any] = [(node.address, node.scheme) for node in devnet.nodes]
        key = {"authorization": f"Bearer {devnet.bearer_key}"}
        url = devnet.bearer_url.removesuffix("/v1")
        for call in range(12):
            answer = await world.chat(call % 2, stream=call % 3 == 0)
            seen.append((answer.status, answer.body))
            other = await request(url, "POST", "/v1/chat/completions", key, chat_body())
            seen.append((other.status, other.body, other.headers["x-request-id"]))
        return seen


async def test_one_number_makes_a_world(settings: DevnetSettings) -> None:
    """The same seed and the same calls give the same answers, faults and ids; another seed gives others."""
    first = await run_world(replace(settings, seed=5))
    assert await run_world(replace(settings, seed=5)) == first
    assert {status for status, *_ in first[2:]} == {200, 503}
    other = await run_world(replace(settings, seed=6))
    assert [entry[0] for entry in other] != [entry[0] for entry in first]


async def test_what_one_node_meets_does_not_change_what_another_does(settings: DevnetSettings) -> None:
    """Each host has its own chance: calls to one leave the other's faults where they were."""

    async def play(calls_before: int) -> list[int]:
        clock = HandClock()
        async with Devnet(settings, now_ns=clock) as devnet:
            world = World(devnet, clock)
            await world.order("503", probability=0.5, node="all")
            await statuses(world, calls_before, 0)
            return await statuses(world, 10, 1)

    assert await play(0) == await play(7)


async def test_a_probability_acts_until_it_is_deleted(world: World) -> None:
    """Without `times` it goes on; what it lets pass meets the next fault in the queue."""
    await world.order("429", probability=0)
    await world.order("503", times=2)
    assert await statuses(world, 3) == [503, 503, 200]
    state = await control(world.url, "DELETE", "faults")
    assert state == {"faults": []}

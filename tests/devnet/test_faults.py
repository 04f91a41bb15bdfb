"""Every fault that can be ordered, as a client meets it, and what it does to the money."""

import asyncio
import json
from typing import Any

import pytest

from tallygate.devnet.faults import FAULT_NAMES
from tallygate.devnet.faults.arrival import Barrier
from tests.devnet.conftest import CHAT, World
from tests.devnet.signing import chat_body
from tests.devnet.wire import Wire, control

WORDS = {
    "308": "moved permanently",
    "400": "Inference node response with an error. code = 400. error = simulated rejection.",
    "401": "Unable to validate request against PubKey:invalid signature",
    "402": "Insufficient balance",
    "403": "Transfer Agent not allowed",
    "404": "model not found",
    "422": "Inference node response with an error. code = 422. error = simulated rejection.",
    "500": "runtime error: invalid memory address or nil pointer dereference: panic",
    "503": "no executors available for model",
}


async def full_cost(world: World, **fields: Any) -> int:
    """Gives what an answer costs when all is well."""
    before = world.spent()
    await world.chat(**fields)
    return world.spent() - before


async def test_refuse_resets_the_connection(world: World) -> None:
    """A refused call gets a reset and no byte, and costs nothing."""
    await world.order("refuse")
    wire = await world.open_chat()
    with pytest.raises(ConnectionResetError):
        await wire.receive_raw()
    wire.leave()
    assert world.spent() == 0
    assert (await world.chat()).status == 200


async def test_hang_up_ends_without_an_answer(world: World) -> None:
    """A hung-up call gets the connection's proper end and no byte."""
    await world.order("hang_up")
    wire = await world.open_chat()
    assert await wire.receive_raw() == b""
    wire.leave()
    assert world.spent() == 0


@pytest.mark.parametrize(("fault", "message"), WORDS.items())
async def test_statuses(world: World, fault: str, message: str) -> None:
    """An ordered status has a node's words and happens as often as ordered; only what the engine says costs a token."""
    await world.order(fault, times=2)
    for _ in range(2):
        answer = await world.chat()
        assert (answer.status, answer.json()) == (int(fault), {"error": message})
    assert world.spent() == (2 if fault in ("400", "422") else 0)
    assert (await world.chat()).status == 200


async def test_an_engines_rejection_is_recorded(world: World) -> None:
    """The engine's 400 comes after all checks: a wrong signature is a 401 first, a good one is billed one token."""
    await world.order("400", times=2)
    body = chat_body()
    assert (await world.send(world.sign(chat_body(temperature=1)), body)).status == 401
    assert world.devnet.chain.inferences == {}
    assert (await world.chat()).status == 400
    (inference,) = world.devnet.chain.inferences.values()
    assert (inference.prompt_tokens, inference.completion_tokens, inference.cost_ngonka) == (1, 0, 1)


async def test_a_400_in_other_words_is_none_of_the_engines(world: World) -> None:
    """A 400 that is ordered with a check's words comes before any inference, and costs nothing."""
    await world.order("400", message="signature is too old")
    assert (await world.chat()).status == 400
    assert world.devnet.chain.inferences == {}


async def test_429_names_another_way(world: World) -> None:
    """A node at its capacity points to the list of participants, with its own URL."""
    await world.order("429")
    expected = f"Transfer Agent capacity reached. Try another TA from {world.url}/v1/epochs/current/participants"
    assert (await world.chat()).json() == {"error": expected}


async def test_410_and_502(world: World) -> None:
    """A 410 is the deprecated node's; a 502 is the proxy's page, which is no JSON."""
    await world.order("410")
    assert (await world.chat()).json()["error"] == "deprecated"
    await world.order("502")
    answer = await world.chat()
    assert answer.headers["content-type"] == "text/html"
    assert b"502 Bad Gateway" in answer.body


async def test_a_statuss_words_and_headers_can_be_chosen(world: World) -> None:
    """Message, Retry-After and Location are the order's, if it says any."""
    await world.order("308", message="gone", retry_after_s=7, location="http://127.0.0.1:1/")
    answer = await world.chat()
    assert answer.json() == {"error": "gone"}
    assert (answer.headers["retry-after"], answer.headers["location"]) == ("7", "http://127.0.0.1:1/")


@pytest.mark.parametrize("times", [None, 0])
async def test_a_fault_without_times_lasts_until_deleted(world: World, times: int | None) -> None:
    """Null or 0 times is for ever, until faults are deleted."""
    await world.order("503", times=times)
    for _ in range(3):
        assert (await world.chat()).status == 503
    await control(world.url, "DELETE", "faults")
    assert (await world.chat()).status == 200


async def test_faults_come_in_order_and_per_node(world: World) -> None:
    """Faults wait for each other, and only on the node that was told."""
    await world.order("503")
    await world.order("500")
    assert (await world.chat(index=1)).status == 200
    assert [(await world.chat()).status for _ in range(3)] == [503, 500, 200]


async def test_stall_headers_says_nothing(world: World) -> None:
    """A stalled call gets nothing; when the fault is deleted, its connection ends."""
    await world.order("stall_headers")
    wire = await world.open_chat()
    reading = asyncio.ensure_future(wire.receive_raw())
    assert (await world.chat()).status == 200
    assert not reading.done()
    await control(world.url, "DELETE", "faults")
    assert await reading == b""
    wire.leave()
    assert len(world.devnet.chain.inferences) == 1


async def test_stall_headers_ends_when_the_client_leaves(world: World) -> None:
    """A stall holds nothing once its client has left."""
    await world.order("stall_headers", times=None)
    wire = await world.open_chat()
    wire.leave()
    await world.devnet.wait_idle()
    assert world.spent() == 0


@pytest.mark.parametrize("after_frames", [0, 1, 4])
async def test_cut_stream(world: World, after_frames: int) -> None:
    """A cut stream has that many frames, no [DONE], no proper end; it is billed in full."""
    cost = await full_cost(world)
    await world.order("cut", after_frames=after_frames)
    answer = await world.chat(stream=True)
    await world.devnet.wait_idle()
    assert answer.status == 200
    assert not answer.complete
    assert len(answer.frames()) == after_frames
    assert not answer.done()
    assert world.spent() == 2 * cost


async def test_cut_comes_before_the_end_of_a_short_stream(world: World) -> None:
    """A stream with fewer frames than the cut waits for loses its [DONE] all the same."""
    await world.order("cut", after_frames=1000)
    answer = await world.chat(stream=True, max_tokens=1)
    assert answer.frames()[-1]["usage"]
    assert not answer.done()
    assert not answer.complete


async def test_a_stream_can_be_cut_before_and_after_every_frame(world: World) -> None:
    """Each cut lets exactly its frames through: none, some, all but the usage, all but [DONE]."""
    whole = (await world.chat(stream=True, max_tokens=3)).frames()
    assert "usage" in whole[-1]
    assert "usage" not in whole[-2]
    for count in range(len(whole) + 2):
        await world.order("cut", after_frames=count)
        answer = await world.chat(stream=True, max_tokens=3)
        assert len(answer.frames()) == min(count, len(whole))
        assert not answer.done()
        assert not answer.complete


@pytest.mark.parametrize("stream", [True, False])
async def test_cut_end(world: World, stream: bool) -> None:
    """Everything comes, [DONE] too, but the end of the body does not; it is billed in full."""
    whole = await world.chat(stream=stream)
    cost = world.spent()
    await world.order("cut_end")
    answer = await world.chat(stream=stream)
    assert not answer.complete
    assert answer.done() == stream
    assert len(answer.body) == len(whole.body)
    assert world.spent() == 2 * cost


@pytest.mark.parametrize("after_frames", [0, 3, 1000])
async def test_hold_stream_goes_on(world: World, after_frames: int) -> None:
    """A held stream stops after its frames, at the latest before [DONE], and goes on when the fault is deleted."""
    whole = (await world.chat(stream=True, max_tokens=3)).frames()
    cost = world.spent()
    await world.order("hold_stream", after_frames=after_frames)
    wire = await world.open_chat(stream=True, max_tokens=3)
    shown = min(after_frames, len(whole))
    got = await wire.receive_frames(shown)
    assert got.count(b"\n\n") == shown
    receiving = asyncio.ensure_future(wire.receive_rest())
    await control(world.url, "GET", "state")
    assert not receiving.done()
    assert (world.spent() == 2 * cost) == (after_frames == 1000)  # the inference waits with its stream
    await control(world.url, "DELETE", "faults")
    rest = await receiving
    wire.leave()
    assert rest.count(b"data: ") == len(whole) - shown + 1
    assert b"data: [DONE]" in rest
    assert world.spent() == 2 * cost


async def test_a_held_stream_runs_on_when_its_client_leaves(world: World) -> None:
    """Nobody has to delete a hold whose client has left: the inference runs to its end and is billed in full."""
    cost = await full_cost(world, stream=True)
    await world.order("hold_stream", after_frames=2)
    wire = await world.open_chat(stream=True)
    await wire.receive_frames(2)
    wire.leave()
    await world.devnet.wait_idle()
    assert world.spent() == 2 * cost


async def test_a_held_body_comes_in_two_halves(world: World) -> None:
    """An unstreamed answer is held in its middle, and is whole when the fault is deleted."""
    await world.order("hold_stream")
    wire = await world.open_chat()
    receiving = asyncio.ensure_future(wire.receive())
    while not world.devnet.chain.inferences:
        await control(world.url, "GET", "state")
    assert not receiving.done()
    await control(world.url, "DELETE", "faults")
    answer = await receiving
    wire.leave()
    assert answer.complete
    assert answer.json()["usage"]


async def test_cut_body(world: World) -> None:
    """A cut answer promises more bytes than come, and is billed in full."""
    cost = await full_cost(world)
    await world.order("cut")
    answer = await world.chat()
    assert not answer.complete
    assert 0 < len(answer.body) < int(answer.headers["content-length"])
    assert world.spent() == 2 * cost


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1, "completion_tokens": -5, "total_tokens": 10**12},
        {"prompt_tokens": 1.5},
        {},
        None,
    ],
)
async def test_wrong_usage(world: World, stream: bool, usage: dict[str, Any] | None) -> None:
    """The ordered usage is shown exactly, or none; what is debited stays the truth."""
    cost = await full_cost(world)
    await world.order("wrong_usage", usage=usage)
    answer = await world.chat(stream=stream)
    shown = answer.frames()[-1] if stream else answer.json()
    assert ("usage" in shown) == (usage is not None)
    assert shown.get("usage") == usage
    assert answer.complete
    assert world.spent() == 2 * cost


async def test_error_event(world: World) -> None:
    """An error event takes the rest's place; what was generated until then is billed."""
    cost = await full_cost(world)
    await world.order("error_event", after_frames=3)
    answer = await world.chat(stream=True)
    assert answer.complete
    assert not answer.done()
    assert len(answer.frames()) == 4
    assert "error" in answer.frames()[-1]
    assert 0 < world.spent() - cost < cost


async def test_error_instead_of_a_body(world: World) -> None:
    """Unstreamed, the error comes as a 200."""
    await world.order("error_event")
    answer = await world.chat()
    assert answer.status == 200
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("stream", [True, False])
async def test_stall_in_the_middle(world: World, stream: bool) -> None:
    """A stream stops and stays open; the inference goes on and is billed in full."""
    cost = await full_cost(world)
    await world.order("stall_stream", after_frames=2)
    wire = await world.open_chat(stream=stream)
    receiving = asyncio.ensure_future(wire.receive())
    while world.spent() < 2 * cost:
        await control(world.url, "GET", "state")
    assert not receiving.done()
    await control(world.url, "DELETE", "faults")
    answer = await receiving
    wire.leave()
    assert not answer.complete
    if stream:
        assert len(answer.frames()) == 2


async def test_truncate_and_garbage(world: World) -> None:
    """A whole answer may be no JSON although HTTP has nothing to complain about."""
    for fault in ("truncate", "garbage"):
        await world.order(fault)
        answer = await world.chat()
        assert (answer.status, answer.complete) == (200, True)
        with pytest.raises(ValueError):
            json.loads(answer.body)


async def test_barrier_holds_all_until_enough_have_come(world: World) -> None:
    """Nobody is answered before the last has arrived, then all are."""
    await world.order("barrier", count=3)
    first = asyncio.ensure_future(world.chat())
    second = asyncio.ensure_future(world.chat())
    await control(world.url, "GET", "state")
    assert not world.devnet.chain.inferences
    assert not first.done()
    assert not second.done()
    answers = [await world.chat(), await first, await second]
    assert [answer.status for answer in answers] == [200] * 3
    assert (await world.chat()).status == 200


async def test_barrier_can_come_twice(world: World) -> None:
    """A barrier's times are how often it gathers its count."""
    await world.order("barrier", count=2, times=2)
    for _ in range(2):
        answers = await asyncio.gather(world.chat(), world.chat())
        assert [answer.status for answer in answers] == [200, 200]
    assert (await world.chat()).status == 200


async def test_a_deleted_barrier_lets_go(world: World) -> None:
    """Whoever waits at a barrier goes on when it is deleted."""
    await world.order("barrier", count=2)
    wire = await Wire.open(world.url)
    body = chat_body()
    await wire.send("POST", CHAT, world.sign(body), body)
    (barrier,) = world.devnet._nodes[0].faults._arrivals
    assert isinstance(barrier, Barrier)
    while not barrier._waiting:
        await control(world.url, "GET", "state")
    await control(world.url, "DELETE", "faults")
    assert (await wire.receive()).status == 200
    wire.leave()


async def test_barrier_and_another_fault(world: World) -> None:
    """After a barrier has let a call go, its answer can still be cut."""
    await world.order("barrier", count=2)
    await world.order("cut", times=2)
    answers = await asyncio.gather(world.chat(), world.chat())
    assert [answer.complete for answer in answers] == [False, False]


def test_every_fault_is_known_by_one_name() -> None:
    """No two faults share a name."""
    assert len(set(FAULT_NAMES)) == len(FAULT_NAMES)

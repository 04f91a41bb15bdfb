"""Failures before the first byte: what is tried where, what the caller sees, and which book carries the cost."""

import json
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.network.client import HttpClient, Timeouts
from tests.network import scripted_server as script
from tests.relay.caller import Answer
from tests.relay.world import MODEL, World, open_world

IMPATIENT = Timeouts(connect_s=30, first_byte_s=0.2, idle_s=30, total_s=60)
STREAMED = pytest.mark.parametrize("stream", [False, True])

FREELY: list[tuple[str, dict[str, Any]]] = [
    ("429", {"retry_after_s": 7}),
    ("503", {}),
    ("403", {}),
    ("410", {}),
    ("404", {}),
    ("400", {"message": "signature is in the future"}),
]
RISKILY: list[tuple[str, dict[str, Any]]] = [("refuse", {}), ("hang_up", {}), ("500", {}), ("502", {})]


def attempts(world: World) -> list[int]:
    """Return what each failed sending may have cost, in ngonka, in the order of the tries."""
    ended = [entry for entry in world.entries(e.ATTEMPT) if entry.completion_tokens is not None]
    return [sum(amount for _, name, amount in entry.postings if name == e.COST_UNPAID) for entry in ended]


def lose_patience(world: World) -> None:
    """Let the time for a first byte be over for every sending that waits for one, and for no later one."""
    for upstream in world.gateway.upstreams.upstreams:
        client: HttpClient = upstream.client  # type: ignore[attr-defined]  # either kind has one
        for lane in client._lanes.values():
            for connection in lane.calls:
                connection._first_byte_at = 0.0


def assert_voided(world: World, answer: Answer, status: int, code: str) -> None:
    """Check that a call failed as told, under its inference's id, and cost its caller nothing."""
    assert (answer.status, answer.code) == (status, code), answer
    assert answer.headers["x-inference-id"] == world.ending().inference
    assert answer.headers["x-request-id"].startswith("req_")
    assert world.ending().kind == e.VOID


@STREAMED
@pytest.mark.parametrize(("fault", "fields"), FREELY)
async def test_what_a_node_did_not_take_is_tried_at_the_next(fault: str, fields: dict[str, Any], stream: bool) -> None:
    """A node that provably did not take the call costs nothing, and the next one answers it."""
    async with open_world() as world:
        world.order(fault, host=0, **fields)
        world.order(fault, host=1, **fields)
        answer = await world.chat(stream=stream)

        assert answer.status == 200
        assert world.upstream_calls == 3
        assert attempts(world) == [0, 0]
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
        assert world.ending().try_ == 2


@STREAMED
@pytest.mark.parametrize(("fault", "fields"), RISKILY)
async def test_what_a_node_may_have_taken_is_tried_once_more(fault: str, fields: dict[str, Any], stream: bool) -> None:
    """After a failure that may have cost something, one more node is tried, and the first stays on our bill."""
    async with open_world() as world:
        world.order(fault, host=0, **fields)
        answer = await world.chat(stream=stream)

        assert answer.status == 200
        (hold,) = world.entries(e.HOLD)
        assert attempts(world) == [(hold.prompt_tokens or 0) + (hold.completion_tokens or 0)]
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka


@pytest.mark.parametrize(("fault", "fields"), RISKILY)
async def test_there_is_one_risky_retry_at_most(fault: str, fields: dict[str, Any]) -> None:
    """Two nodes that fail riskily end the call, although a third one is well; the caller pays nothing."""
    async with open_world() as world:
        world.order(fault, host=0, **fields)
        world.order(fault, host=1, **fields)

        assert_voided(world, await world.chat(), 502, "upstream_error")
        assert world.upstream_calls == 2
        assert all(attempts(world))
        assert world.posted_ngonka(e.COST_UNPAID) == 2 * attempts(world)[0]


@STREAMED
async def test_silence_is_waited_out_once(stream: bool) -> None:
    """A node that says nothing in time is left, once riskily; a second one means 504."""
    async with open_world() as world:
        world.order("stall_headers", host=0)
        caller = await world.send(stream=stream)
        await world.arrival(1)
        lose_patience(world)
        assert (await caller.answer()).status == 200

    async with open_world() as world:
        world.order("stall_headers")
        caller = await world.send(stream=stream)
        for calls in (1, 2):
            await world.arrival(calls)
            lose_patience(world)
        assert_voided(world, await caller.answer(), 504, "upstream_timeout")
        assert world.upstream_calls == 2


async def test_silence_is_waited_out_for_as_long_as_the_operator_says() -> None:
    """A call that no node answers ends when the configured time for a first byte is over."""
    async with open_world(timeouts=IMPATIENT) as world:
        world.order("stall_headers", times=None)
        assert_voided(world, await world.chat(), 504, "upstream_timeout")


async def test_every_sending_is_signed_anew() -> None:
    """Each try has a fresh timestamp, larger than the one before, and so a signature of its own."""
    async with open_world() as world:
        world.order("503", host=0)
        world.order("503", host=1)
        await world.chat()

        calls = [call for host in world.hosts for call in host.calls]
        stamps = [int(call.headers["x-timestamp"]) for call in calls]
        assert len(set(stamps)) == len({call.headers["authorization"] for call in calls}) == 3
        assert stamps == sorted(stamps)
        assert {call.body for call in calls} == {calls[0].body}
        assert world.ending().upstream_reference == calls[-1].headers["authorization"]


async def test_a_node_that_speaks_devshard_is_never_asked_again() -> None:
    """After a 410 a node is out for good; the others serve on."""
    async with open_world() as world:
        world.order("410", host=0, times=None)
        for _ in range(4):
            assert (await world.chat()).status == 200

        assert len(world.hosts[0].calls) == 1


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("401", {}),
        ("402", {}),
        ("308", {}),
        ("403", {"message": "inference requests are restricted"}),
        ("500", {"message": "rpc error: code = NotFound desc = account not found"}),
    ],
)
async def test_a_misconfigured_upstream_is_left_for_the_next(fault: str, fields: dict[str, Any]) -> None:
    """When the network does not accept us, no other node of that upstream is asked, but the next upstream is."""
    async with open_world("gonka", "openai") as world:
        world.order(fault, host=0, **fields)
        answer = await world.chat()

        assert answer.status == 200
        assert [len(host.calls) for host in world.hosts] == [1, 0, 0, 1]
        assert world.ending().upstream == "bearer"
        assert attempts(world) == [0]


@pytest.mark.parametrize("kind", ["gonka", "openai"])
@pytest.mark.parametrize("fault", ["401", "402", "308"])
async def test_our_own_trouble_is_never_the_callers(kind: str, fault: str) -> None:
    """Without another upstream it is a 502 that is not to be retried, never the caller's own 401 or 402."""
    async with open_world(kind) as world:
        world.order(fault)
        answer = await world.chat()

        assert_voided(world, answer, 502, "upstream_misconfigured")
        assert answer.headers["x-should-retry"] == "false"
        assert world.upstream_calls == 1
        assert world.posted_ngonka(e.COST_UNPAID) == 0


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_a_redirect_gets_no_credentials(kind: str) -> None:
    """Nobody that an upstream points to ever hears from us."""
    async with script.serve(script.wait_for_leave) as elsewhere, open_world(kind) as world:
        for status in ("308",):
            world.order(status, location=f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions")
            assert (await world.chat()).status == 502

        assert elsewhere.accepted == 0


@pytest.mark.parametrize("kind", ["gonka", "openai"])
@pytest.mark.parametrize("fault", ["400", "422"])
@STREAMED
async def test_a_rejected_request_is_not_repeated(kind: str, fault: str, stream: bool) -> None:
    """What the engine rejects is the caller's 400 with the engine's words, tried once; a node bills its one token."""
    async with open_world(kind, "gonka") as world:
        message = "Inference node response with an error: seed must be positive"
        world.order(fault, message=message)
        answer = await world.chat(stream=stream)

        assert_voided(world, answer, 400, "upstream_rejected")
        assert message in answer.json()["error"]["message"]
        assert world.upstream_calls == 1
        assert world.posted_ngonka(e.COST_UNPAID) == (kind == "gonka")


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry_after"),
    [
        ("429", 503, "network_unavailable", "7"),
        ("503", 503, "network_unavailable", "7"),
        ("404", 503, "network_unavailable", "5"),
        ("403", 503, "network_unavailable", "5"),
    ],
)
async def test_no_node_left_is_told_with_a_time_to_come_again(
    fault: str, status: int, code: str, retry_after: str
) -> None:
    """When every node was tried in vain, the caller learns when to try again, and pays nothing."""
    async with open_world() as world:
        world.order(fault, retry_after_s=7)
        answer = await world.chat()

        assert_voided(world, answer, status, code)
        assert answer.headers["retry-after"] == retry_after
        assert world.upstream_calls == 3


async def test_nodes_that_were_out_are_all_tried_when_none_is_well() -> None:
    """When every node is left out for now, a call tries one after the other all the same."""
    async with open_world() as world:
        world.order("503")
        assert (await world.chat()).status == 503
        assert all(target.is_out for target, _ in world.gateway.upstreams.targets(MODEL))

        world.order("503", host=1)
        world.order("503", host=2)
        assert (await world.chat()).status == 200


async def test_a_place_that_cannot_be_reached_is_passed_over() -> None:
    """A refused connection costs nothing, and the next upstream answers."""
    async with open_world("openai", "gonka") as world:
        await world.devnet._servers[3].stop()
        answer = await world.chat()

        assert answer.status == 200
        assert attempts(world) == [0]
        assert world.ending().upstream == "signed"


@STREAMED
@pytest.mark.parametrize("kinds", [("openai",), ("openai", "gonka")])
async def test_a_connection_that_had_gone_stale_is_replaced_once(kinds: tuple[str, ...], stream: bool) -> None:
    """A reset on a reused connection is tried again on a fresh one, at the same upstream, and perhaps billed."""
    async with open_world(*kinds) as world:
        await world.chat()
        world.order("refuse", host=3)
        answer = await world.chat(stream=stream)

        assert answer.status == 200
        assert [len(host.calls) for host in world.hosts] == [0, 0, 0, 3]
        (possible,) = attempts(world)
        assert possible > 0


@STREAMED
async def test_a_call_whose_node_may_be_dead_is_not_risked_there_again(stream: bool) -> None:
    """Where there are other nodes, a reset on a reused connection is tried again at one of them, on a fresh one."""
    async with open_world() as world:
        for _ in range(3):
            assert (await world.chat()).status == 200
        world.order("refuse", host=0, times=None)
        answer = await world.chat(stream=stream)

        assert answer.status == 200
        assert [len(host.calls) for host in world.hosts[:3]] == [2, 2, 1]
        assert [len(server._connections) for server in world.devnet._servers[:3]] == [0, 2, 1]
        (possible,) = attempts(world)
        assert possible > 0


async def test_a_stale_connection_is_replaced_only_once() -> None:
    """When the fresh connection is lost as well, a Bearer upstream is not asked a third time."""
    async with open_world("openai") as world:
        await world.chat()
        world.order("refuse", times=2)

        assert_voided(world, await world.chat(), 502, "upstream_error")
        assert world.upstream_calls == 3


async def test_a_bearer_upstream_that_failed_is_asked_again_once() -> None:
    """A Bearer upstream races nodes itself, so a 502 is worth one more try there, and only one."""
    async with open_world("openai") as world:
        world.order("502")
        assert (await world.chat()).status == 200
        assert world.upstream_calls == 2

        world.order("502", times=3)
        assert (await world.chat()).status == 502
        assert world.upstream_calls == 4


async def test_a_failed_call_says_nothing_of_our_credentials() -> None:
    """Neither key nor signature nor wallet address is in what a caller sees of any failure."""
    async with open_world("gonka", "openai") as world:
        world.order("401")
        answer = await world.chat()

        seen = json.dumps([answer.headers, answer.body.decode()])
        calls = [call for host in world.hosts for call in host.calls]
        for call in calls:
            assert call.headers["authorization"] not in seen
            assert call.headers.get("x-requester-address", "gonka1") not in seen

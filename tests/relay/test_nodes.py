"""Whole calls over several nodes: who is chosen, how they stand, what the operator sees."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.chainview import Epoch
from tallygate.core.ledger import entry as e
from tallygate.core.retry import SILENT
from tallygate.devnet import DevnetSettings, Scheme
from tallygate.devnet.settings import NodeSettings
from tests.network import scripted_server as script
from tests.relay import wiring
from tests.relay.world import World, open_world, until

if TYPE_CHECKING:
    from tallygate.network.gonka import GonkaUpstream

FIVE = DevnetSettings(pace_ms=0, nodes=(NodeSettings(),) * 5)
MIXED = DevnetSettings(pace_ms=0, nodes=(NodeSettings(Scheme.RAW), NodeSettings(Scheme.HASH), NodeSettings(Scheme.RAW)))


async def look(world: World) -> list[dict[str, Any]]:
    """Return what the operator sees of the upstreams."""
    caller = await world.connect_to(world.admin_port)
    await caller.request("GET", "/admin/v1/upstreams", {"authorization": f"Bearer {wiring.ADMIN_KEY}"})
    answer = await caller.answer()
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def rewire(world: World, **access: Any) -> None:
    """Put the gateway together anew, with another access to its nodes."""
    await world.stop()
    (upstream,) = world.upstreams
    world.upstreams = [replace(upstream, access=replace(upstream.access, **access))]
    await world.start()


async def test_the_scheme_is_found_out() -> None:
    """With `auto`, a node that refuses a signature is answered once with the other scheme, in the same attempt."""
    async with open_world(devnet=MIXED, scheme=Scheme.HASH) as world:
        await rewire(world, scheme=None)
        for _ in range(6):
            assert (await world.chat()).status == 200

        assert [len(host.calls) for host in world.hosts[:3]] == [3, 2, 3]  # one more each, where it was found out
        assert world.entries(e.ATTEMPT) == []
        served = world.devnet.chain.inferences
        assert all(entry.upstream_reference in served for entry in world.entries(e.SETTLE))


async def test_a_wallet_that_nobody_knows_is_not_signed_for_ever() -> None:
    """With `auto`, a node that refuses both schemes has refused us, after two sendings and no more."""
    async with open_world(devnet=MIXED) as world:
        await rewire(world, scheme=None)
        world.order("401", host=0, times=2)
        answer = await world.chat()

        assert (answer.status, answer.code) == (502, "upstream_misconfigured")
        assert world.upstream_calls == 2


async def test_a_fixed_scheme_stays() -> None:
    """Without `auto`, a refused signature is never answered with the other scheme."""
    async with open_world(devnet=MIXED) as world:
        answer = await world.chat()

        assert (answer.status, answer.code) == (502, "upstream_misconfigured")
        assert world.upstream_calls == 1


async def test_a_quiet_window_is_told() -> None:
    """While the network is quiet, a caller's 503 says when to come again, and no node is left out for it."""
    async with open_world() as world:
        upstream: GonkaUpstream = world.gateway.upstreams.upstreams[0]  # type: ignore[assignment]
        upstream.chain.note_epoch(Epoch(is_quiet=True, blocks_left=15), upstream._now_s())
        world.order("503", times=None)
        answer = await world.chat()

        assert (answer.status, answer.code) == (503, "network_unavailable")
        assert 80 <= int(answer.headers["retry-after"]) <= 91
        assert not any(place.is_out for place in upstream.places)
        (shown,) = await look(world)
        assert 80 <= shown["network"]["quiet_for_s"] <= 91


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_where_an_upstream_has_moved_is_shown_and_never_asked(kind: str) -> None:
    """A 308 is shown to the operator with where it points; nobody there hears from us, still less our key."""
    async with script.serve(script.wait_for_leave) as foreign, open_world(kind) as world:
        where = f"http://127.0.0.1:{foreign.port}/v1"
        world.order("308", location=f"{where}?secret=1")
        assert (await world.chat()).status == 502
        (shown,) = await look(world)

        assert shown["places"][0]["moved_to"] == where
        assert shown["places"][0]["reason"] == f"status 308: moved to {where}; redirects are never followed"
        assert foreign.accepted == 0


async def test_the_operator_sees_how_nodes_stand() -> None:
    """Each place shows its state and why, its calls under way, its speed, its last failures and its usage."""
    async with open_world() as world:
        world.order("410", host=0)
        world.order("wrong_usage", host=1, usage={"prompt_tokens": 5, "completion_tokens": 90_000})
        for _ in range(4):
            assert (await world.chat(stream=True)).status == 200
        (shown,) = await look(world)
        gone, odd, well = shown["places"]

        assert (gone["state"], gone["out_for_s"]) == ("out for good", None)
        assert gone["reason"] == 'this node speaks devshard; use kind = "openai"'
        assert (odd["state"], odd["implausible_usage"]) == ("ok", 1)
        assert odd["reported_tokens"] - odd["counted_tokens"] > 80_000
        assert [failure["kind"] for failure in odd["recent_failures"]] == ["usage is not plausible"]
        assert (well["state"], well["reason"], well["in_flight"]) == ("ok", None, 0)
        assert well["ttft_ms"] >= 0
        assert well["reported_tokens"] == well["counted_tokens"] > 0
        assert world.devnet.nodes[2].url == well["url"]
        figures = world.metrics.render().decode()
        assert f'tallygate_node_state{{node="{gone["node"]}",state="out for good",upstream="signed"}} 1.0' in figures
        assert f'tallygate_node_implausible_usage_total{{node="{odd["node"]}",upstream="signed"}} 1.0' in figures


async def test_a_call_goes_elsewhere_when_its_node_is_left_out_before_it_is_sent() -> None:
    """While a hold becomes durable its node may fail others; the call is not sent there, and the books say so."""
    async with open_world(devnet=FIVE) as world:
        flushes = world.journal.flushes
        world.journal.hold_back()
        call = await world.send()
        await until(lambda: world.journal.flushes > flushes)
        world.gateway.upstreams.upstreams[0].places[0].report(SILENT)
        world.journal.let_go()

        assert (await call.answer()).status == 200
        assert [len(host.calls) for host in world.hosts[:5]] == [0, 1, 0, 0, 0]
        begun, ended = world.entries(e.ATTEMPT)[::-1]
        (hold,) = world.entries(e.HOLD)
        assert (hold.node, ended.node, begun.node) == (
            world.devnet.nodes[0].address,
            hold.node,
            world.devnet.nodes[1].address,
        )
        assert world.posted_ngonka(e.COST_UNPAID) == 0


async def test_a_node_that_was_left_out_is_probed_by_one_call_at_a_time() -> None:
    """Of calls that begin together when a node's time is over, one is risked there, and the others go elsewhere."""
    now_s = [100.0]
    async with open_world(devnet=FIVE, monotonic_s=lambda: now_s[0]) as world:
        world.gateway.upstreams.upstreams[0].places[0].report(SILENT)
        now_s[0] += SILENT.out_for_s
        world.order("stall_headers", host=0, times=None)
        world.journal.hold_back()
        calls = [await world.send() for _ in range(15)]
        await until(lambda: world.gateway.relay.under_way == 15)
        world.journal.let_go()
        await world.arrival(15)
        world.clear_faults()

        assert [(await call.answer()).status for call in calls] == [200] * 15
        assert len(world.hosts[0].calls) == 1


async def test_a_retry_does_not_meet_a_node_that_has_fallen_silent_since() -> None:
    """Where a call is tried again depends on how nodes do by then, not on how they did when it began."""
    now_s = [100.0]
    async with open_world(devnet=FIVE, monotonic_s=lambda: now_s[0]) as world:
        for host in (0, 1):
            world.order("stall_headers", host=host, times=1)
        first = await world.send(stream=True)
        await world.arrival(1)
        second = await world.send(stream=True)
        await world.arrival(2)
        now_s[0] += 1.0
        world.devnet._nodes[0].faults.clear()

        assert [len(host.calls) for host in world.hosts[:2]] == [1, 1]
        assert (await first.answer()).status == 200
        assert len(world.hosts[1].calls) == 1
        world.clear_faults()
        assert (await second.answer()).status == 200


async def test_no_call_under_way_is_forgotten() -> None:
    """Calls that end, fail, are cut or lose their callers leave no place with a call under way."""
    async with open_world(left_drain_s=0.0) as world:
        world.order("cut", host=0)
        world.order("refuse", host=1)
        for stream in (True, False, True):
            await world.chat(stream=stream)
        world.order("hold_stream", host=2, times=None)
        world.order("hold_stream", host=0, times=None)
        caller = await world.send(stream=True)
        await world.arrival(world.upstream_calls + 1)
        caller.leave()
        await until(lambda: not world.gateway.relay.under_way)

        assert [place.standing.in_flight for place in world.gateway.upstreams.upstreams[0].places] == [0, 0, 0]
        world.clear_faults()


async def test_retries_are_on_a_budget() -> None:
    """When the budget of retries is used up, a call that fails is not sent again, although the table would let it."""
    async with open_world() as world:
        budget = world.gateway.upstreams._budget
        assert budget is not None
        while budget.take():
            pass
        budget._per_s = budget._percent = 0
        world.order("503", host=0)
        answer = await world.chat()

        assert (answer.status, world.upstream_calls) == (503, 1)
        assert json.loads(answer.body)["error"]["code"] == "network_unavailable"

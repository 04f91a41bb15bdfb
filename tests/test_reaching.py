"""How the ways to the network are put together: a gateway whose nodes are discovered, and questions that are asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tallygate.config import DiscoverySettings, GonkaAccess
from tallygate.core.ledger import entry as e
from tallygate.reaching import open_for_questions, watch_networks
from tests.network.scripted_server import Server, serve
from tests.network.small_network import SmallNetwork
from tests.relay.world import World, open_world

if TYPE_CHECKING:
    from tests.network.scripted_server import Peer


async def rewire(world: World, **access: Any) -> None:
    """Put the gateway together anew, with another access to its nodes."""
    await world.stop()
    (upstream,) = world.upstreams
    world.upstreams = [replace(upstream, access=replace(upstream.access, **access))]
    await world.start()


def discover_at(server: Server) -> DiscoverySettings:
    """Return the settings that discover nodes at a server."""
    return DiscoverySettings(((server.origin(), b""),), 300.0)


async def test_a_gateway_discovers_its_nodes() -> None:
    """A gateway without any configured node serves calls by those that the network lists, and books them by address."""
    network = SmallNetwork()
    async with serve(network.play) as server, open_world() as world:
        network.list_participants({node.address: f"{node.url}/v1" for node in world.devnet.nodes[1:]})
        network.allow()
        await rewire(world, nodes=(), discovery=discover_at(server))
        assert (await world.chat()).status == 503
        async with watch_networks(world.upstreams, world.gateway.upstreams.upstreams):
            for _ in range(4):
                assert (await world.chat()).status == 200

        assert [len(host.calls) for host in world.hosts[:3]] == [0, 2, 2]
        assert {entry.node for entry in world.entries(e.SETTLE)} == {node.address for node in world.devnet.nodes[1:]}


async def test_a_network_that_says_nothing_keeps_nobody_from_starting() -> None:
    """Where no source answers, the gateway starts, refuses calls with a time to come again, and shows the trouble."""

    async def close(peer: Peer) -> None:
        await peer.request()

    async with serve(close) as server, open_world() as world:
        await rewire(world, nodes=(), discovery=discover_at(server))
        async with watch_networks(world.upstreams, world.gateway.upstreams.upstreams):
            refused = await world.chat()

        assert (refused.status, refused.code) == (503, "network_unavailable")
        (upstream,) = world.gateway.upstreams.upstreams
        assert "is not answered" in str(upstream.describe()["trouble"])


async def test_questions_know_the_discovered_nodes() -> None:
    """Who asks what attempts have cost finds the nodes that the network lists, and leaves no connection open."""
    network = SmallNetwork()
    async with serve(network.play) as server, open_world() as world:
        network.list_participants({node.address: node.url for node in world.devnet.nodes})
        network.allow()
        assert (await world.chat()).status == 200
        (settled,) = world.entries(e.SETTLE)
        (upstream,) = world.upstreams
        assert isinstance(upstream.access, GonkaAccess)
        asked = replace(upstream, access=replace(upstream.access, nodes=(), discovery=discover_at(server)))
        async with open_for_questions([asked]) as upstreams:
            bill = await upstreams["signed"].ask_bill(settled.upstream_reference or "", settled.node)

    assert bill == (world.billed_ngonka, settled.prompt_tokens, settled.completion_tokens)


async def test_a_node_that_complains_of_the_clock_has_it_looked_at() -> None:
    """A node that takes our time for wrong has the chain's time asked for, without waiting for the next look."""
    async with open_world() as world:
        wanted = []
        (upstream,) = world.gateway.upstreams.upstreams
        upstream.look_soon = lambda: wanted.append(1)  # type: ignore[attr-defined]
        world.order("400", host=0, message="signature is in the future")
        assert (await world.chat()).status == 200

        assert wanted == [1]

"""TLS nodes that are slow in their handshakes, before a whole gateway: nobody waits for them, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import trustme

from tallygate.config import GonkaAccess
from tallygate.core.ledger import entry as e
from tallygate.core.signing import Scheme
from tallygate.devnet import Devnet, DevnetSettings, NodeSettings
from tests.relay import wiring
from tests.relay.world import PATIENT, WALLET, WALLET_NGONKA, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tallygate.config import UpstreamSettings

NODES = 5
QUICK, SLOW = (0, 2, 4), (1, 3)
NEVER_MS = 600_000


def restrict(devnet: Devnet, hosts: tuple[int, ...], connect_s: float, ca_file: Path) -> UpstreamSettings:
    """Return an upstream of some of the devnet's nodes."""
    upstream = wiring.gonka(devnet, WALLET, replace(PATIENT, connect_s=connect_s), priority=0, scheme=Scheme.HASH)
    access = upstream.access
    assert isinstance(access, GonkaAccess)
    nodes = tuple(access.nodes[host] for host in hosts)
    return replace(upstream, name=f"nodes {hosts}", ca_file=ca_file, access=replace(access, nodes=nodes))


@contextlib.asynccontextmanager
async def tls_world(folder: Path, connect_s: dict[tuple[int, ...], float]) -> AsyncIterator[World]:
    """Run a gateway before nodes that speak HTTPS, by an authority that the operator has named.

    Nodes that are waited for alike are an upstream: on a slow machine no node shakes hands in a second.
    """
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    settings = DevnetSettings(base_port=0, pace_ms=0, nodes=(NodeSettings(),) * NODES)
    async with Devnet(settings, tls=server) as devnet:
        devnet.chain.fund(WALLET.public_key, WALLET_NGONKA)
        upstreams = [restrict(devnet, hosts, wait_s, ca_file) for hosts, wait_s in connect_s.items()]
        world = World(devnet, upstreams, keep_alive_s=30.0, left_drain_s=30.0, picousd=5 * 10**12)
        await world.start()
        try:
            yield world
            await world.settle_down()
        finally:
            await world.stop()


async def test_handshakes_that_never_end_cost_nobody_anything(tmp_path: Path) -> None:
    """With two of five nodes that never shake hands, no call fails, none is charged twice, and both books agree."""
    async with tls_world(tmp_path, {QUICK: 30.0, SLOW: 1.0}) as world:
        for host in SLOW:
            world.order("slow_tls", host=host, times=None, delay_ms=NEVER_MS)
        for _ in range(10):
            answers = await asyncio.gather(*(world.chat(stream=bool(number % 2)) for number in range(10)))
            assert {answer.status for answer in answers} == {200}

        assert [bool(host.calls) for host in world.hosts[:NODES]] == [True, False, True, False, True]
        slow = [place.standing.reason for place in world.gateway.upstreams.upstreams[1].places]
        assert slow == ["could not be reached"] * len(SLOW)
        settled = world.entries(e.SETTLE)
        assert len({entry.inference for entry in settled}) == len(settled) == 100
        for entry in settled:
            record = world.devnet.chain.inferences[entry.upstream_reference or ""]
            assert (entry.prompt_tokens, entry.completion_tokens) == (record.prompt_tokens, record.completion_tokens)
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
        assert world.posted_ngonka(e.COST_UNPAID) == 0
        world.clear_faults()


async def test_a_handshake_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    """A node that is merely slow to shake hands serves its call, and is not blamed."""
    async with tls_world(tmp_path, {tuple(range(NODES)): 30.0}) as world:
        world.order("slow_tls", times=None, delay_ms=50)
        for _ in range(2 * NODES):
            assert (await world.chat()).status == 200

        assert [bool(host.calls) for host in world.hosts[:NODES]] == [True] * NODES
        assert [place.is_out for place in world.gateway.upstreams.upstreams[0].places] == [False] * NODES
        assert world.entries(e.ATTEMPT) == []
        world.clear_faults()

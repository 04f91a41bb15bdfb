"""A gateway whose nodes are discovered at a devnet's public API: both in one process, on one clock moved by hand."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tallygate import app
from tallygate.config import DiscoverySettings, GonkaAccess
from tallygate.core.signing import Scheme
from tallygate.devnet import Devnet, DevnetSettings, NodeSettings
from tallygate.network.origin import Origin
from tallygate.reaching import _build_watches
from tests.relay import wiring
from tests.relay.world import PATIENT, WALLET, WALLET_NGONKA, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.network.gonka import GonkaUpstream

START_NS = 1_795_651_200 * 10**9
REFRESH_S = 60.0
LOOK_S = 15.0
NODES = 4


@dataclass
class Clock:
    """The time of everything; the gateway's own may be off."""

    passed_s: float = 1000.0
    skew_s: float = 0.0

    def chain_ns(self) -> int:
        """Return the chain's time."""
        return START_NS + int(self.passed_s * 10**9)

    def wall_ns(self) -> int:
        """Return what the gateway takes for the time."""
        return self.chain_ns() + int(self.skew_s * 10**9)

    def monotonic_s(self) -> float:
        """Return the gateway's clock that is never set."""
        return self.passed_s


class DiscoveringWorld(World):
    """A world whose gateway knows one node, by its URL, and asks there who the others are."""

    clock: Clock

    @property
    def upstream(self) -> GonkaUpstream:
        """The one upstream."""
        (found,) = self.gateway.upstreams.upstreams
        return found  # type: ignore[return-value]

    @property
    def known(self) -> list[int]:
        """Which nodes the gateway sends to, by their numbers."""
        numbers = {(node.url, node.address): number for number, node in enumerate(self.devnet.nodes)}
        return [numbers[place.url, place.node or ""] for place in self.upstream.places]

    async def start(self) -> None:
        """Put the gateway together, and watch the network for it."""
        self.machine = app.Machine(now_ns=self.clock.wall_ns, monotonic_s=self.clock.monotonic_s)
        await super().start()
        upstreams = self.gateway.upstreams.upstreams
        (self.watch,) = _build_watches(self.upstreams, upstreams, self.clock.wall_ns, self.clock.monotonic_s)

    async def stop(self) -> None:
        """Close everything."""
        await self.watch.close()
        await super().stop()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and have the network looked at as often as a running gateway does."""
        end_s = self.clock.passed_s + seconds
        while self.clock.passed_s < end_s:
            self.clock.passed_s = min(self.clock.passed_s + LOOK_S, end_s)
            await self.watch.look()

    async def status_of_model(self) -> str:
        """Return what the list of models says of the one that there is."""
        (model,) = (await self.get("/v1/models")).json()["data"]
        return str(model["status"])

    async def pass_epoch(self) -> None:
        """Let the next epoch begin, its quiet window pass, and its participants take over."""
        epochs, height = self.devnet.chain.epochs, self.devnet.chain.clock.latest().height
        ahead = epochs.at(epochs.at(height).next_start).new_validators - height
        self.devnet.chain.clock.skip(ahead)
        await self.pass_time(REFRESH_S)


@contextlib.asynccontextmanager
async def discovering(clock: Clock | None = None, **devnet: Any) -> AsyncIterator[DiscoveringWorld]:
    """Run such a world, in which the network has not been looked at yet."""
    clock = clock or Clock()
    settings = DevnetSettings(base_port=0, pace_ms=0, nodes=(NodeSettings(),) * NODES, **devnet)
    async with Devnet(settings, now_ns=clock.chain_ns) as network:
        network.chain.fund(WALLET.public_key, WALLET_NGONKA)
        origin, base_path = Origin.parse(f"{network.nodes[0].url}/v1")
        discovery = DiscoverySettings(((origin, base_path.removesuffix(b"/v1")),), REFRESH_S)
        upstream = wiring.gonka(network, WALLET, PATIENT, priority=0, scheme=Scheme.HASH)
        access = GonkaAccess((WALLET,), Scheme.HASH, (), discovery)
        world = DiscoveringWorld(
            network,
            [replace(upstream, access=access)],
            keep_alive_s=30.0,
            left_drain_s=30.0,
            picousd=5 * 10**12,
            monotonic_s=clock.monotonic_s,
        )
        world.clock = clock
        await world.start()
        try:
            yield world
            await world.settle_down()
        finally:
            await world.stop()

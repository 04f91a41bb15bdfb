"""A whole devnet: one chain, its nodes, the Bearer gateway, each listening on a port.

The only place that puts the parts together. It prints nothing itself.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tallygate.devnet.answerer import Answerer, Engine
from tallygate.devnet.bearer import BearerGateway
from tallygate.devnet.chain import BlockClock, Chain
from tallygate.devnet.identity import Identity
from tallygate.devnet.node import Node
from tallygate.devnet.participants import Participant
from tallygate.devnet.server import HttpServer
from tallygate.devnet.settings import DevnetSettings, Scheme

if TYPE_CHECKING:
    from tallygate.devnet.hosts import Host


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a running node is and who it is.

    Attributes:
        url: Its address on the web, without /v1.
        address: Its bech32 address, which requests are signed for.
        scheme: The signature scheme that it accepts.
    """

    url: str
    address: str
    scheme: Scheme


class Devnet:
    """A simulated Gonka Network, for as long as the context lasts.

    Attributes:
        settings: What it was made of.
        chain: Its chain, for tests in the same process.
        nodes: Its nodes; filled by `start`.
        bearer_url: The Bearer gateway's base URL, with /v1; filled by `start`.
        bearer_address: The address of the account that the Bearer gateway pays with.
        bearer_key: The key that the Bearer gateway accepts.
    """

    def __init__(
        self,
        settings: DevnetSettings | None = None,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        engine: Engine | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings or DevnetSettings()
        clock = BlockClock(now_ns, self.settings.block_interval_ns)
        self.chain = Chain(
            clock,
            self.settings.price_ngonka,
            chain_id=self.settings.chain_id,
            epoch_blocks=self.settings.epoch_blocks,
        )
        self._participants: list[Participant] = []
        self._hosts: list[Host] = []
        self.nodes: tuple[NodeAddress, ...] = ()
        self.bearer_url = ""
        self.bearer_key = self.settings.bearer_key
        self._tls = tls
        engine = engine or Answerer(self.settings.pace_ms / 1000)
        seed = self.settings.seed
        self._nodes = [
            Node(
                node,
                self.settings,
                Identity.derive(seed, f"node {index}"),
                self.chain,
                engine,
                now_ns,
                self._participants,
                self._hosts,
                _draw(seed, f"node {index}"),
            )
            for index, node in enumerate(self.settings.nodes)
        ]
        operator = Identity.derive(seed, "operator")
        self._bearer = BearerGateway(
            self.settings, operator, self.chain, engine, now_ns, self._hosts, _draw(seed, "bearer")
        )
        self.bearer_address = operator.address
        self._servers: list[HttpServer] = []

    async def start(self) -> None:
        """Opens every port.

        Raises:
            DevnetPortBusyError: One of them is taken; none is left open then.
        """
        hosts: list[Node | BearerGateway] = [*self._nodes, self._bearer]
        try:
            for index, host in enumerate(hosts):
                base_port = self.settings.base_port
                server = HttpServer(host, self._tls, host.faults.greet)
                await server.start(self.settings.host, base_port and base_port + index)
                self._servers.append(server)
                host.faults.door = server
        except BaseException:
            await self.stop()
            raise
        self._name_ports()

    async def stop(self) -> None:
        """Closes every port and drops whatever is under way."""
        for faults in [node.faults for node in self._nodes] + [self._bearer.faults]:
            faults.clear()
        for server in self._servers:
            await server.stop()
        self._servers.clear()

    async def wait_idle(self) -> None:
        """Waits until no inference runs, also none whose client has left."""
        for server in self._servers:
            await server.wait_idle()

    def announce(self) -> list[str]:
        """Gives the lines that tell other programs where everything is."""
        lines = []
        for node in self.nodes:
            lines += [f"NODE_URL={node.url}", f"NODE_ADDRESS={node.address}"]
        return [*lines, f"BEARER_URL={self.bearer_url}", f"BEARER_KEY={self.bearer_key}"]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _name_ports(self) -> None:
        *node_servers, bearer_server = self._servers
        for node, server in zip(self._nodes, node_servers, strict=True):
            node.url = node.host.url = self._url(server)
        self._participants[:] = [
            Participant(node.address, node.public_key, node.url, self.settings.models) for node in self._nodes
        ]
        self.nodes = tuple(NodeAddress(node.url, node.address, node.scheme) for node in self._nodes)
        self._bearer.host.url = self._url(bearer_server)
        self.bearer_url = f"{self._bearer.host.url}/v1"

    def _url(self, server: HttpServer) -> str:
        host = self.settings.host
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{server.port}"


def _draw(seed: int, host: str) -> random.Random:
    """Gives one host's chance: the same for the same seed, and apart from every other host's."""
    return random.Random(f"tallygate devnet {seed} {host}")  # noqa: S311 -- it has to be reproducible


async def serve(
    settings: DevnetSettings,
    announce: Callable[[str], object],
    *,
    engine: Engine | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Runs a devnet until it is cancelled, after announcing line by line where everything is.

    Raises:
        DevnetPortBusyError: A port is taken.
    """
    async with Devnet(settings, engine=engine, tls=tls) as devnet:
        for line in devnet.announce():
            announce(line)
        await asyncio.Event().wait()

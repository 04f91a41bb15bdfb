"""`tallygate serve` that knows one node only, from its configuration file to a start without any network to ask."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

from tests.devnet.wire import control
from tests.gateway.processes import Gateway, Installation, installed, served

if TYPE_CHECKING:
    from pathlib import Path

UPSTREAM = """[[upstreams]]
name = "bearer\""""


def configure(installation: Installation, source: int) -> None:
    """Have the gateway discover its nodes, and take the Bearer upstream away."""
    text = installation.config.read_text()
    url = f"{installation.devnet.nodes[source].url}/v1"
    text = re.sub(r"(nodes = \[.*\]|discovery = .*)\n", f'discovery = {{ sources = ["{url}"] }}\n', text)
    if UPSTREAM in text:
        text = text[: text.index(UPSTREAM)] + text[text.index("[models.") :]
    installation.config.write_text(text)


async def places(gateway: Gateway) -> list[str]:
    """Return the addresses of the nodes that the operator sees."""
    (upstream,) = (await gateway.admin("GET", "upstreams"))["data"]
    return [place["node"] for place in upstream["places"]]


async def tell(installation: Installation, **network: Any) -> None:
    """Change the network."""
    await control(installation.devnet.nodes[0].url, "POST", "network", network)


async def test_discovered_nodes_outlive_a_restart(tmp_path: Path) -> None:
    """Found at the first start, they serve after a kill while nobody tells anything; another source's do not count."""
    async with installed(tmp_path) as installation:
        configure(installation, 0)
        first, second, third = (node.address for node in installation.devnet.nodes)
        await tell(installation, allowed_transfer_addresses=[second, third], excluded={third: "downtime"})
        async with served(installation) as gateway:
            assert await places(gateway) == [second]
            assert (await gateway.chat()).status == 200
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        await control(installation.devnet.nodes[1].url, "POST", "faults", {"fault": "down", "node": 0})
        async with served(installation) as gateway:
            assert await places(gateway) == [second]
            assert [(await gateway.chat()).status for _ in range(3)] == [200] * 3
            assert await gateway.end(signal.SIGTERM) == 0
        await control(installation.devnet.nodes[1].url, "POST", "faults", {"fault": "down", "node": 2})
        configure(installation, 2)
        async with served(installation) as gateway:
            assert await places(gateway) == []
            refused = await gateway.chat()
            assert (refused.status, refused.code) == (503, "network_unavailable")
            assert await gateway.end(signal.SIGTERM) == 0
        await control(installation.devnet.nodes[1].url, "DELETE", "faults", {"node": "all"})
        await tell(installation, allowed_transfer_addresses=[], excluded={})
        async with served(installation) as gateway:
            assert sorted(await places(gateway)) == sorted([first, second, third])
            assert (await gateway.chat()).status == 200
        assert installation.audit().clean

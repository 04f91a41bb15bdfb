"""A small fake of what the network tells about itself: routes and what they answer, and who asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.network.scripted_server import answer

if TYPE_CHECKING:
    from tests.network.scripted_server import Peer

PARTICIPANTS = "/v1/epochs/current/participants"
PARAMS = "/chain-api/productscience/inference/inference/params"
LATEST = "/v1/epochs/latest"
BLOCK = "/chain-api/cosmos/base/tendermint/v1beta1/blocks/latest"
IDENTITY = "/v1/identity"


class SmallNetwork:
    """Answers GET requests by their path; what is not there is 404.

    Attributes:
        routes: By path, a status and a body (or what becomes one as JSON).
        heads: The heads of all requests that came.
    """

    def __init__(self) -> None:
        self.routes: dict[str, tuple[int, object]] = {}
        self.heads: list[bytes] = []

    async def play(self, peer: Peer) -> None:
        """Answer request after request of one connection."""
        while True:
            head = await peer.request()
            self.heads.append(head)
            status, body = self.routes.get(head.split()[1].decode(), (404, {"error": "not found"}))
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            await peer.send(answer(raw, status=b"%d Told" % status))

    def list_participants(self, nodes: dict[str, str], *, excluded: tuple[str, ...] = ()) -> None:
        """Have participants take part, by address and URL."""
        participants: list[dict[str, Any]] = [
            {"index": address, "inference_url": url, "weight": 1, "models": ["m"]} for address, url in nodes.items()
        ]
        self.routes[PARTICIPANTS] = (
            200,
            {
                "active_participants": {"participants": participants},
                "proof_ops": None,
                "excluded_participants": [{"address": address, "reason": "r"} for address in excluded],
            },
        )

    def allow(self, *addresses: str) -> None:
        """Have the chain allow only these addresses to take calls; none allows all."""
        access = {"allowed_transfer_addresses": list(addresses)}
        self.routes[PARAMS] = 200, {"params": {"transfer_agent_access_params": access}}

    def show_chain(self, height: int, time: str, phase: str = "Inference", **stages: int) -> None:
        """Have the chain be at a block, in a phase of its epoch."""
        self.routes[LATEST] = 200, {"block_height": height, "phase": phase, "epoch_stages": stages}
        self.routes[BLOCK] = 200, {"block": {"header": {"height": str(height), "time": time}}}

    def identify(self, address: str, delegates: dict[str, str] | None = None) -> None:
        """Have the node name itself."""
        data: dict[str, Any] = {"address": address, "block": 1, "timestamp": "2026-11-26T00:00:00Z"}
        self.routes[IDENTITY] = 200, {"data": data | ({"delegate_ta": delegates} if delegates else {})}

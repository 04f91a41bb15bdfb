"""An upstream of kind `gonka`: classic nodes, to which every request is signed with the operator's wallet.

What is signed are the very bytes that are sent. A signature is the inference's id on the chain and works once, so
every sending has a fresh timestamp, larger than any before. The headers that only nodes send one another
(transfer address, inference id, seed) are never sent; a caller's headers are never forwarded.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from tallygate.core.ledger.reconciliation import Unreported
from tallygate.core.signing import sign_request
from tallygate.network.bills import ask_node
from tallygate.network.pool import Health
from tallygate.network.sending import SentAnswer, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.config import GonkaAccess, NodeSettings, UpstreamSettings
    from tallygate.core.ledger.reconciliation import Bill
    from tallygate.core.signing import RequestTimestamps, SigningKey
    from tallygate.network.client import HttpClient


MISSES_MAX: Final = 3
"""After so many questions in a row without a usable answer, a node is not asked for records any more."""


class GonkaNode:
    """One node as a place to send to; the wallets take turns."""

    signed = True

    def __init__(self, upstream: GonkaUpstream, node: NodeSettings, now_s: Callable[[], float]) -> None:
        self.upstream = upstream.name
        self.node: str | None = node.address
        self.rate = upstream.rate
        self.tokens_floor = upstream.tokens_floor
        self.bills_to_end = upstream.bills_to_end
        self.flattens = upstream.flattens
        self._upstream = upstream
        self._address = node.address
        self._origin = node.origin
        self._base_path = node.base_path
        self._misses = 0
        self._shows_records = True
        self._path = node.base_path + b"/v1/chat/completions"
        self._health = Health(now_s)
        self.report = self._health.report

    @property
    def is_out(self) -> bool:
        """Whether it is left out now."""
        return self._health.is_out

    @property
    def is_out_for_good(self) -> bool:
        """Whether it will not come back by itself."""
        return self._health.is_out_for_good

    async def send(
        self, body: bytes, *, fresh: bool = False, on_sent: Callable[[str | None], None] | None = None
    ) -> SentAnswer:
        """Sign the body and send it; raises `SendingError`."""
        upstream = self._upstream
        key = upstream.next_wallet()
        timestamp_ns = upstream.timestamps.next()
        signature = sign_request(key, upstream.scheme, body, timestamp_ns, self._address)
        headers = (
            f"Content-Type: application/json\r\nAuthorization: {signature}\r\n"
            f"X-Requester-Address: {key.address}\r\nX-Timestamp: {timestamp_ns}\r\n"
        )
        return await send(
            upstream.client,
            self._origin,
            self._path,
            headers.encode(),
            body,
            fresh=fresh,
            on_sent=on_sent,
            reference=signature,
        )

    async def ask_bill(self, reference: str) -> Bill | Unreported:
        """Ask for the chain's record of an inference, unless this node has shown that it is no use to."""
        if self._misses >= MISSES_MAX:
            return Unreported.NO_ANSWER
        if not self._shows_records:
            return Unreported.NOT_OFFERED
        answer = await ask_node(self._upstream.client, self._origin, self._base_path, reference)
        self._misses = self._misses + 1 if answer is Unreported.NO_ANSWER else 0
        self._shows_records = answer is not Unreported.NOT_OFFERED
        return answer


class GonkaUpstream:
    """The nodes of one configured upstream, and the wallets that pay them."""

    def __init__(
        self,
        *,
        settings: UpstreamSettings,
        access: GonkaAccess,
        client: HttpClient,
        timestamps: RequestTimestamps,
        now_s: Callable[[], float],
    ) -> None:
        self.name, self.models, self.rate = settings.name, settings.models, settings.rate
        self.priority, self.weight = settings.priority, settings.weight
        self.tokens_floor, self.bills_to_end = settings.tokens_floor, settings.bills_to_end
        self.flattens = settings.flattens
        self.scheme = access.scheme
        self.client = client
        self.timestamps = timestamps
        self._wallets = access.wallets
        self._turn = count()
        self._wallet_turn = count()
        self._nodes = [GonkaNode(self, node, now_s) for node in access.nodes]

    def next_wallet(self) -> SigningKey:
        """Return the wallet whose turn it is."""
        return self._wallets[next(self._wallet_turn) % len(self._wallets)]

    @property
    def places(self) -> Sequence[GonkaNode]:
        """The nodes, in the order of the configuration."""
        return self._nodes

    def targets(self) -> Sequence[GonkaNode]:
        """Return the nodes, beginning with the one whose turn it is."""
        start = next(self._turn) % len(self._nodes)
        return self._nodes[start:] + self._nodes[:start]

    async def ask_bill(self, reference: str, node: str | None) -> Bill | Unreported:
        """Ask for the chain's record: the node that took the attempt first, then the others, which have it as well."""
        answer: Bill | Unreported = Unreported.NOT_OFFERED
        for place in sorted(self._nodes, key=lambda place: place.node != node):
            found = await place.ask_bill(reference)
            if found is Unreported.NO_ANSWER:
                answer = found
            elif found is not Unreported.NOT_OFFERED:
                return found
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()

"""An upstream of kind `gonka`: classic nodes, to which every request is signed with the operator's wallet.

What is signed are the very bytes that are sent. A signature is the inference's id on the chain and works once, so
every sending has a fresh timestamp, which no other has. The headers that only nodes send one another
(transfer address, inference id, seed) are never sent; a caller's headers are never forwarded.
"""

from __future__ import annotations

from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.core.chainview import ChainView
from tallygate.core.choosing import order_places
from tallygate.core.ledger.reconciliation import Unreported
from tallygate.core.pricing import UpstreamRates
from tallygate.core.retry import CLOCK, NOT_AVAILABLE
from tallygate.core.signing import OTHER_SCHEME, Scheme, sign_request
from tallygate.network.bills import ask_node
from tallygate.network.place import Place
from tallygate.network.sending import KnownAnswer, SentAnswer, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.config import GonkaAccess, UpstreamSettings
    from tallygate.core.ledger.reconciliation import Bill
    from tallygate.core.retry import Failure
    from tallygate.core.retrybudget import RetryBudget
    from tallygate.core.signing import SigningKey
    from tallygate.core.timestamps import CorrectedTimestamps
    from tallygate.network.client import HttpClient
    from tallygate.network.discovery import FoundNode
    from tallygate.network.origin import Origin


MISSES_MAX: Final = 3
"""After so many questions in a row without a usable answer, a node is not asked for records any more."""

REFUSAL_BYTES_MAX: Final = 64 * 1024
"""How much of a refusal is read to see whether it is about the signature's scheme."""

WRONG_SIGNATURE: Final = b"invalid signature"

_log = structlog.get_logger()


class GonkaNode(Place):
    """One node as a place to send to; the wallets take turns."""

    signed = True

    def __init__(
        self,
        upstream: GonkaUpstream,
        origin: Origin,
        base_path: bytes,
        address: str,
        now_s: Callable[[], float],
        budget: RetryBudget | None,
    ) -> None:
        super().__init__(now_s, budget)
        self.upstream = upstream.name
        self.node: str | None = address
        self.rates = upstream.rates
        self.tokens_floor = upstream.tokens_floor
        self.bills_to_end = upstream.bills_to_end
        self.flattens = upstream.flattens
        self.origin = origin
        self.base_path = base_path
        self._upstream = upstream
        self._address = address
        self._misses = 0
        self._shows_records = True
        self._scheme = upstream.scheme or Scheme.HASH
        self._path = base_path + b"/v1/chat/completions"

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"{self.origin}{self.base_path.decode()}"

    @property
    def scheme(self) -> str:
        """What is signed for it, as far as is known."""
        return self._scheme.value

    @property
    def is_quiet(self) -> bool:
        """Whether it is in a quiet window."""
        return self._upstream.quiet_for_s > 0

    async def send(
        self,
        body: bytes,
        *,
        fresh: bool = False,
        streams: bool = False,
        on_sent: Callable[[str | None], None] | None = None,
    ) -> SentAnswer:
        """Sign the body and send it; raises `SendingError`.

        Where the scheme is not fixed, a refusal of the signature is answered once with the other scheme. A node that
        refuses a signature has taken nothing, so this is one attempt; whichever scheme was not refused is remembered.
        """
        answer = await self._send(self._scheme, body, fresh=fresh, streams=streams, on_sent=on_sent)
        if answer.status != 401 or self._upstream.scheme is not None:
            return answer
        said = await answer.read_all(REFUSAL_BYTES_MAX)
        if WRONG_SIGNATURE not in said.lower():
            return KnownAnswer(answer, said)
        other = OTHER_SCHEME[self._scheme]
        answer = await self._send(other, body, fresh=fresh, streams=streams, on_sent=on_sent)
        if answer.status != 401:
            self._scheme = other
            _log.info("node takes another signature scheme", node=self.node, scheme=other.value)
        return answer

    def report(self, failure: Failure) -> Failure:
        """Take note of a failed sending; in a quiet window, a node that serves nobody has done nothing wrong."""
        kind = failure.kind
        if kind == CLOCK:
            self._upstream.look_soon()
        elif kind == NOT_AVAILABLE and (quiet_s := self._upstream.quiet_for_s):
            return failure._replace(out_for_s=0.0, quiet_s=ceil(quiet_s), detail=f"{kind}: quiet window")
        return super().report(failure)

    async def ask_bill(self, reference: str) -> Bill | Unreported:
        """Ask for the chain's record of an inference, unless this node has shown that it is no use to."""
        if self._misses >= MISSES_MAX:
            return Unreported.NO_ANSWER
        if not self._shows_records:
            return Unreported.NOT_OFFERED
        answer = await ask_node(self._upstream.client, self.origin, self.base_path, reference)
        self._misses = self._misses + 1 if answer is Unreported.NO_ANSWER else 0
        self._shows_records = answer is not Unreported.NOT_OFFERED
        return answer

    async def _send(
        self,
        scheme: Scheme,
        body: bytes,
        *,
        fresh: bool,
        streams: bool,
        on_sent: Callable[[str | None], None] | None,
    ) -> SentAnswer:
        upstream = self._upstream
        key = upstream.next_wallet()
        timestamp_ns = upstream.timestamps.next(upstream.chain.offset_ns)
        signature = sign_request(key, scheme, body, timestamp_ns, self._address)
        headers = (
            f"Content-Type: application/json\r\nAuthorization: {signature}\r\n"
            f"X-Requester-Address: {key.address}\r\nX-Timestamp: {timestamp_ns}\r\n"
        )
        return await send(
            upstream.client,
            self.origin,
            self._path,
            headers.encode(),
            body,
            self.standing,
            fresh=fresh,
            streams=streams,
            on_sent=on_sent,
            reference=signature,
        )


class GonkaUpstream:
    """The nodes of one upstream, configured or discovered, and the wallets that pay them.

    Attributes:
        scheme: What is signed; None where each node shows it.
        chain: What is known of the chain that the nodes belong to.
        discovery: How nodes are discovered; None where they are configured.
        look_soon: Has whoever watches the chain look at it now.
        trouble: Why the network tells nothing of use, None while it does.
    """

    def __init__(
        self,
        *,
        settings: UpstreamSettings,
        access: GonkaAccess,
        client: HttpClient,
        timestamps: CorrectedTimestamps,
        now_s: Callable[[], float],
        draw: Callable[[int], int] = lambda _: 0,
        budget: RetryBudget | None = None,
    ) -> None:
        self.name, self.models, self.rates = settings.name, settings.models, UpstreamRates(settings.rate)
        self.priority, self.weight, self.routes = settings.priority, settings.weight, settings.routes
        self.tokens_floor, self.bills_to_end = settings.tokens_floor, settings.bills_to_end
        self.flattens = settings.flattens
        self.scheme = access.scheme
        self.client = client
        self.timestamps = timestamps
        self.chain = ChainView()
        self.discovery = access.discovery
        self.look_soon: Callable[[], None] = lambda: None
        self.trouble: str | None = None
        self._wallets = access.wallets
        self._turn = count()
        self._wallet_turn = count()
        self._now_s = now_s
        self._draw = draw
        self._budget = budget
        self._nodes = [self._make(node.origin, node.base_path, node.address) for node in access.nodes]

    def next_wallet(self) -> SigningKey:
        """Return the wallet whose turn it is."""
        return self._wallets[next(self._wallet_turn) % len(self._wallets)]

    @property
    def quiet_for_s(self) -> float:
        """For how long the network is still in a quiet window; 0 when it is in none."""
        return self.chain.quiet_for_s(self._now_s())

    @property
    def places(self) -> Sequence[GonkaNode]:
        """The nodes, in the order of the configuration, or of the network's list."""
        return self._nodes

    def targets(self) -> Sequence[GonkaNode]:
        """Return the nodes, best first."""
        return order_places(self._nodes, next(self._turn), self._draw)

    def describe(self) -> Mapping[str, object]:
        """Return what is known of the network: whether it is quiet, how its time is to ours, how nodes are found."""
        chain = self.chain
        return {
            "scheme": "auto" if self.scheme is None else self.scheme.value,
            "quiet_for_s": ceil(self.quiet_for_s),
            "clock_lead_ms": None if chain.lead_ns is None else chain.lead_ns // 10**6,
            "clock_corrected_ms": chain.offset_ns // 10**6,
            "clock_is_too_far": chain.is_too_far,
            "nodes_are_discovered": self.discovery is not None,
            "trouble": self.trouble,
        }

    def take_over(self, found: Sequence[FoundNode]) -> None:
        """From now on, send to these nodes; one that is known already stands as it stood."""
        known = {(node.origin, node.base_path, node.node): node for node in self._nodes}
        nodes = [known.get((node.origin, node.base_path, node.address)) or self._make(*node) for node in found]
        if [id(node) for node in nodes] != [id(node) for node in self._nodes]:
            gone = len(known.keys() - set(found))
            _log.info("nodes discovered", upstream=self.name, nodes=len(nodes), gone=gone)
            self._nodes = nodes

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

    def _make(self, origin: Origin, base_path: bytes, address: str) -> GonkaNode:
        return GonkaNode(self, origin, base_path, address, self._now_s, self._budget)

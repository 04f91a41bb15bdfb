"""An upstream of kind `openai`: anything that speaks OpenAI's chat API behind a Bearer key.

This is how today's mainnet is reached: the network's own gateway program, a broker, or any inference engine. Such
an upstream races the network's nodes by itself, so a second try at the same place is a try at another node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.pricing import UpstreamRates
from tallygate.network.bills import ask_fee, ask_gateway
from tallygate.network.place import Place
from tallygate.network.sending import SentAnswer, request_of, send

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from tallygate.config import BearerAccess, UpstreamSettings
    from tallygate.core.ledger.reconciliation import Bill, Unreported
    from tallygate.core.retrybudget import RetryBudget
    from tallygate.network.client import HttpClient


class BearerUpstream(Place):
    """One Bearer upstream, which is also its only place to send to."""

    signed = False
    node = None

    def __init__(
        self,
        *,
        settings: UpstreamSettings,
        access: BearerAccess,
        client: HttpClient,
        now_s: Callable[[], float],
        budget: RetryBudget | None = None,
    ) -> None:
        super().__init__(now_s, budget, races=True)
        self.name = self.upstream = settings.name
        self.models, self.rates = settings.models, UpstreamRates(settings.rate)
        self.priority, self.weight, self.routes = settings.priority, settings.weight, settings.routes
        self.tokens_floor, self.bills_to_end = settings.tokens_floor, settings.bills_to_end
        self.flattens = settings.flattens
        self._client = client
        self._origin = access.origin
        self._base_path = access.base_path
        self._path = access.base_path + b"/chat/completions"
        self._authorization = access.authorization
        self._headers = b"Content-Type: application/json\r\n" + self._authorization
        self._fee_ngonka: int | None = None

    def __repr__(self) -> str:
        return f"<BearerUpstream {self.name} at {self._origin}>"

    def send(
        self,
        body: bytes,
        *,
        fresh: bool = False,
        streams: bool = False,
        on_sent: Callable[[str | None], None] | None = None,
    ) -> Coroutine[None, None, SentAnswer]:
        """Send the body with our key; raises `SendingError`."""
        return send(
            self._client,
            self._origin,
            self._path,
            self._headers,
            body,
            self.standing,
            fresh=fresh,
            streams=streams,
            on_sent=on_sent,
        )

    async def ask_bill(self, reference: str, node: str | None) -> Bill | Unreported:
        """Ask for the account of a request; the fee of an attempt is what it says, else what is configured."""
        del node
        if self._fee_ngonka is None:
            fee = await ask_fee(self._client, self._origin, self._base_path, self._authorization)
            self._fee_ngonka = self.rates.dearest.attempt_ngonka if fee is None else fee
        request = request_of(reference)
        return await ask_gateway(
            self._client, self._origin, self._base_path, self._authorization, request, self._fee_ngonka
        )

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"{self._origin}{self._base_path.decode()}"

    def describe(self) -> Mapping[str, object]:
        """Return nothing: what is behind it is its own business."""
        return {}

    @property
    def places(self) -> Sequence[BearerUpstream]:
        """This place."""
        return (self,)

    def targets(self) -> Sequence[BearerUpstream]:
        """Return this place, twice: the second try reaches another node."""
        return (self, self)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

"""Who is asked what models cost: the nodes of a signed upstream, or a Bearer upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tallygate.core.askedprices import (
    Offers,
    offer_alike,
    offer_at_cost,
    read_broker_models,
    read_governance_pricing,
    read_model_ids,
    read_session,
)
from tallygate.core.quoting import QuoteError
from tallygate.network.asking import look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.config import BearerAccess, GonkaAccess, UpstreamSettings
    from tallygate.network.client import HttpClient


class PriceSource(Protocol):
    """One upstream as somebody who says what models cost."""

    @property
    def name(self) -> str:
        """The upstream's configured name."""

    @property
    def models(self) -> Mapping[str, str] | None:
        """Its names for our model ids; None when it takes every id as it is."""

    async def ask(self) -> Offers:
        """Return its offers, by its own model ids; raises `QuoteError` with why there are none."""


class NodePrices:
    """The prices of the day, of whichever node of a signed upstream tells them first: all tell what the chain says."""

    def __init__(self, settings: UpstreamSettings, access: GonkaAccess, client: HttpClient) -> None:
        self.name, self.models = settings.name, settings.models
        self._tellers = access.tellers
        self._client = client

    async def ask(self) -> Offers:
        """Return the chain's prices."""
        failure = QuoteError("gave no answer")
        for origin, base_path in self._tellers:
            told = await look_up(self._client, origin, base_path + b"/v1/governance/pricing")
            if told is None:
                continue
            if told.status == 200:
                try:
                    return read_governance_pricing(self.name, told.body)
                except QuoteError as error:
                    failure = error
            else:
                failure = QuoteError(f"answered with status {told.status}")
        raise failure


class BearerPrices:
    """What a Bearer upstream says: a broker by its list of models, the gateway program by the escrow that it pays from.

    Where the gateway program does not tell (a broker that runs it keeps that to itself), what it bills by the
    configuration counts: the operator's word, in ngonka, which the rate of a GNK turns into dollars.
    """

    def __init__(self, settings: UpstreamSettings, access: BearerAccess, client: HttpClient) -> None:
        self.name, self.models = settings.name, settings.models
        self._program, self._rate = settings.program, settings.rate
        self._origin, self._base_path = access.origin, access.base_path
        self._headers = access.authorization
        self._client = client

    async def ask(self) -> Offers:
        """Return its offers."""
        body = await self._get(b"/models")
        if self._program == "other":
            return read_broker_models(self.name, body)
        models = read_model_ids(body)
        try:
            return offer_alike(self.name, models, read_session(await self._get(b"/status")))
        except QuoteError:
            if not self._rate.input_ngonka:
                raise
            return offer_at_cost(self.name, models, self._rate)

    async def _get(self, route: bytes) -> bytes:
        told = await look_up(self._client, self._origin, self._base_path + route, self._headers)
        if told is None:
            raise QuoteError("gave no answer")
        if told.status != 200:
            raise QuoteError(f"answered with status {told.status}")
        return told.body

"""The price list, in the shapes that programs read elsewhere: GonkaGate's, and that of the network's price monitors.

All of it is drawn from the price sheet in force. Numbers are exact plain decimals. Both shapes have one price for all
tokens of a model: where its prompt and its answer differ in price it is the dearer one, so that whoever knows no other
is never charged more than they read; beside it stand both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from tallygate.api.http import Access, Response, Route
from tallygate.core.calendar import show_milliseconds
from tallygate.core.pricelist import list_fee_rate, list_million, list_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.catalog import Catalog
    from tallygate.core.pricing import Price
    from tallygate.ports import Ledger
    from tallygate.relay import Sink


class PricingApi:
    """The routes that show the price list.

    Args:
        callers: Tells who asks, where that is asked.
        ledger: The books, for the prices in force.
        catalog: The models.
    """

    def __init__(self, *, callers: Callers, ledger: Ledger, catalog: Catalog) -> None:
        self._callers = callers
        self._ledger = ledger
        self._catalog = catalog

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route(
                "GET",
                "/api/v1/public/pricing",
                self.public,
                "GonkaGate's price list; for everybody.",
                access=Access.OPEN,
            ),
            Route("GET", "/api/v1/pricing", self.keyed, "The same, for holders of an API key."),
            Route(
                "GET",
                "/api/pricing",
                self.monitored,
                "The price list that price monitors read; for everybody.",
                access=Access.OPEN,
            ),
        )

    async def public(self, _: Request, __: Sink) -> Response:
        """Show the price list to whoever asks."""
        fee_ppm = self._ledger.sheet.fee_ppm
        models = [
            {
                "id": model,
                "usdPer1MTokens": _describe_million(max(price.input, price.output), fee_ppm),
                "usdPer1MInputTokens": _describe_million(price.input, fee_ppm),
                "usdPer1MOutputTokens": _describe_million(price.output, fee_ppm),
                "usdPerRequest": _number(list_unit(price.call, fee_ppm)),
            }
            for model, price in self._offered()
        ]
        fees = {"platformFeeRate": _number(list_fee_rate(self._ledger.sheet))}
        data = {"updatedAt": show_milliseconds(self._ledger.sheet_ns), "fees": fees, "models": models}
        return Response.json({"success": True, "data": data})

    async def keyed(self, request: Request, sink: Sink) -> Response:
        """Show the price list to holders of an API key."""
        self._callers.authenticate(request)
        return await self.public(request, sink)

    async def monitored(self, _: Request, __: Sink) -> Response:
        """Show what a million tokens cost a caller."""
        fee_ppm = self._ledger.sheet.fee_ppm
        models = [
            {
                "id": model,
                "model_id": model,
                "usd_per_million_tokens": _number(list_million(max(price.input, price.output), fee_ppm).total),
                "input_usd_per_million_tokens": _number(list_million(price.input, fee_ppm).total),
                "output_usd_per_million_tokens": _number(list_million(price.output, fee_ppm).total),
                "usd_per_request": _number(list_unit(price.call, fee_ppm)),
            }
            for model, price in self._offered()
        ]
        return Response.json({"models": models})

    def _offered(self) -> list[tuple[str, Price]]:
        sheet = self._ledger.sheet
        return [(card.id, sheet.prices[card.id]) for card in self._catalog.offered(sheet)]


def _describe_million(picousd_per_token: int, fee_ppm: int) -> dict[str, Any]:
    listed = list_million(picousd_per_token, fee_ppm)
    return {"network": _number(listed.network), "platformFee": _number(listed.fee), "total": _number(listed.total)}


def _number(decimal: str) -> Raw:
    """Return a plain decimal as a JSON number, with all of its digits."""
    return Raw(decimal.encode())

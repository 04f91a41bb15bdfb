"""Prices: the sheet in force, and its next version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.api.admin.accounts import ACTOR
from tallygate.api.descriptions import describe_sheet
from tallygate.api.fields import read_fields, read_price
from tallygate.api.http import Response, Route
from tallygate.core.errors import Code, Refusal
from tallygate.core.ids import MODEL_ID
from tallygate.core.pricing import given_back, revised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.api.http import Fields, Request
    from tallygate.core.catalog import Catalog
    from tallygate.ports import Ledger
    from tallygate.relay import Sink

PRICE: Final[Fields] = {"model": str, "input": str, "output": str, "call": str, "free": bool, "network": bool}


class PriceRoutes:
    """The routes under `/admin/v1/prices`.

    Args:
        ledger: The books, which hold the price sheet.
        catalog: The models, for their canonical ids.
    """

    def __init__(self, ledger: Ledger, catalog: Catalog) -> None:
        self._ledger = ledger
        self._catalog = catalog

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route("GET", "/admin/v1/prices", self.show_prices, "The price sheet in force."),
            Route(
                "POST",
                "/admin/v1/prices",
                self.set_price,
                "Price a `model`: `input`, `output`, `call`, or `free`; or let the `network`.",
                fields=PRICE,
            ),
        )

    async def show_prices(self, _: Request, __: Sink) -> Response:
        """Show the price sheet in force."""
        return Response.json(describe_sheet(self._ledger.sheet))

    async def set_price(self, request: Request, _: Sink) -> Response:
        """Price one model, from the next call on."""
        fields = await read_fields(request, PRICE)
        if not MODEL_ID.fullmatch(fields.get("model", "")):
            raise Refusal(
                Code.INVALID_VALUE, "model must be the id of a model: letters, digits, . _ : / @ + -", param="model"
            )
        model = self._catalog.canonical(fields["model"], self._ledger.sheet)
        if fields.pop("network", False):
            return await self._give_back(model, fields)
        price = read_price(fields, self._ledger.sheet.prices.get(model))
        await self._ledger.publish(revised(self._ledger.sheet, {model: price}), ACTOR)
        return Response.json(describe_sheet(self._ledger.sheet))

    async def _give_back(self, model: str, fields: Mapping[str, object]) -> Response:
        """Let the network change a price that the operator has set; where it does not, the price stays."""
        price = self._ledger.sheet.prices.get(model)
        if len(fields) > 1 or price is None or price.free:
            message = "Only the network's or your own price can be said, and a model without a price is the network's."
            raise Refusal(Code.INVALID_VALUE, message, param="network")
        if model not in self._ledger.sheet.quotes:
            await self._ledger.publish(given_back(self._ledger.sheet, model), ACTOR)
        return Response.json(describe_sheet(self._ledger.sheet))

"""The models that callers may ask for, with their limits and prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.http import Response, Route
from tallygate.core.openai import COPIED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.bounding import ModelCard
    from tallygate.core.catalog import Catalog
    from tallygate.core.pricing import Price, Sheet
    from tallygate.ports import Ledger
    from tallygate.relay import Sink


class ModelApi:
    """The routes under `/v1/models`.

    Args:
        callers: Tells who asks.
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
            Route("GET", "/v1/models", self.models, "The models that can be served now, with prices."),
            Route("GET", "/v1/models/{id...}", self.model, "One model, by id or alias, in any case."),
        )

    async def models(self, request: Request, _: Sink) -> Response:
        """List the models that can be served now."""
        self._callers.authenticate(request)
        sheet = self._ledger.sheet
        cards = self._catalog.offered(sheet)
        return Response.json({"object": "list", "data": [_describe(card, sheet) for card in cards]})

    async def model(self, request: Request, _: Sink) -> Response:
        """Describe one model."""
        self._callers.authenticate(request)
        sheet = self._ledger.sheet
        return Response.json(_describe(self._catalog.find(request.argument, sheet), sheet))


def _describe(card: ModelCard, sheet: Sheet) -> dict[str, Any]:
    """Return a model as the contract lists it: OpenAI's members, and what clients look for beyond them."""
    price = sheet.prices[card.id]
    return {
        "id": card.id,
        "object": "model",
        "created": 0,
        "owned_by": "gonka",
        "name": card.id,
        "context_length": card.context_length,
        "pricing": _pricing(price, sheet.fee_ppm),
        "top_provider": {"max_completion_tokens": card.output_tokens_max},
        "supported_parameters": sorted(COPIED | {"max_tokens", "max_completion_tokens", "n", "stream"}),
        "supported_features": list(card.features),
        "input_modalities": ["text"],
    }


def _pricing(price: Price, fee_ppm: int) -> dict[str, str]:
    """Return what a caller pays per token and per call in dollars, platform fee included, exactly."""
    return {
        "prompt": _with_fee(price.input, fee_ppm),
        "completion": _with_fee(price.output, fee_ppm),
        "request": _with_fee(price.call, fee_ppm),
    }


def _with_fee(picousd: int, fee_ppm: int) -> str:
    exact = picousd * (1_000_000 + fee_ppm)  # in millionths of a pico-dollar: no rounding in a price that is shown
    dollars, rest = divmod(exact, 10**18)
    return f"{dollars}.{rest:018d}".rstrip("0").rstrip(".") if exact else "0"

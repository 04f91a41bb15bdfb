"""The models that callers may ask for, with their limits and prices.

The list is what the configuration, the price sheet and the upstreams' settings say, so it does not empty while the
network is away: a model all of whose places are out or quiet for now stays in it, marked `degraded`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.http import Access, Response, Route
from tallygate.core.access import check_model
from tallygate.core.openai.features import supported_parameters
from tallygate.core.pricelist import list_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.access import ApiKey
    from tallygate.core.bounding import ModelCard
    from tallygate.core.catalog import Catalog
    from tallygate.core.pricing import Sheet
    from tallygate.ports import Ledger, Upstreams
    from tallygate.relay import Sink


class ModelApi:
    """The routes under `/v1/models`.

    Args:
        callers: Tells who asks.
        ledger: The books, for the prices in force.
        catalog: The models.
        upstreams: The ways to the network, for whether a model can be had now.
        public: Whether everybody may ask, with or without an API key.
    """

    _public = False

    def __init__(
        self, *, callers: Callers, ledger: Ledger, catalog: Catalog, upstreams: Upstreams, public: bool
    ) -> None:
        self._callers = callers
        self._ledger = ledger
        self._catalog = catalog
        self._upstreams = upstreams
        self._public = public

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        access = Access.WELCOME if self._public else Access.KEY
        return (
            Route("GET", "/v1/models", self.models, "The models that can be served now, with prices.", access=access),
            Route("GET", "/v1/models/{id...}", self.model, "One model, by id or alias, in any case.", access=access),
        )

    async def models(self, request: Request, _: Sink) -> Response:
        """List the models that whoever asks can be served with."""
        key = self._find_key(request)
        sheet = self._ledger.sheet
        cards = [card for card in self._catalog.offered(sheet) if _may_use(key, card)]
        return Response.json({"object": "list", "data": [self._describe(card, sheet) for card in cards]})

    async def model(self, request: Request, _: Sink) -> Response:
        """Describe one model; one that the key may not use is refused as on a call."""
        key = self._find_key(request)
        sheet = self._ledger.sheet
        card = self._catalog.find(request.argument, sheet)
        if key is not None:
            check_model(key, card.id)
        return Response.json(self._describe(card, sheet))

    def _find_key(self, request: Request) -> ApiKey | None:
        """Return whose key asks; None for anybody, where anybody may. Raises `Refusal` (401)."""
        if self._public and b"authorization" not in request.headers:
            return None
        return self._callers.authenticate(request)

    def _describe(self, card: ModelCard, sheet: Sheet) -> dict[str, Any]:
        """Return a model as the contract lists it: OpenAI's members, and what clients look for beyond them."""
        price = sheet.prices[card.id]
        modalities = {"input_modalities": ["text"], "output_modalities": ["text"]}
        return {
            "id": card.id,
            "object": "model",
            "created": 0,
            "owned_by": "gonka",
            "canonical_slug": card.id,
            "name": card.name or card.id,
            "status": "available" if self._upstreams.works(card.id) else "degraded",
            "context_length": card.context_length,
            "architecture": {"modality": "text->text", **modalities},
            **modalities,
            "pricing": {
                "prompt": list_unit(price.input, sheet.fee_ppm),
                "completion": list_unit(price.output, sheet.fee_ppm),
                "request": list_unit(price.call, sheet.fee_ppm),
            },
            "top_provider": {
                "context_length": card.context_length,
                "max_completion_tokens": card.output_tokens_max,
                "is_moderated": False,
            },
            "per_request_limits": None,
            "supported_parameters": supported_parameters(card.features),
            "supported_features": list(card.features),
        }


def _may_use(key: ApiKey | None, card: ModelCard) -> bool:
    return key is None or key.models is None or card.id in key.models

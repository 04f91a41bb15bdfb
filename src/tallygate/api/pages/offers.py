"""What can be had, and for how much: drawn from the price sheet in force and the models' cards at each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.api.pages.frame import MODELS, PRICING, frame
from tallygate.api.pages.markup import join, prose, table, tag
from tallygate.core.pricelist import list_fee_rate, list_million, list_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.api.http import Response
    from tallygate.core.bounding import ModelCard
    from tallygate.core.pricing import Sheet


def show_pricing(sheet: Sheet, cards: Sequence[ModelCard]) -> Response:
    """Return the page of prices."""
    rows = []
    for card in cards:
        price = sheet.prices[card.id]
        prompt, answer = list_million(price.input, sheet.fee_ppm), list_million(price.output, sheet.fee_ppm)
        amounts = ("free",) * 3 if price.free else (prompt.total, answer.total, list_unit(price.call, sheet.fee_ppm))
        rows.append((tag("code", card.id), *amounts))
    return frame(
        PRICING,
        tag(
            "p",
            prose(
                "US dollars, exactly, with the platform fee in them: it is "
                f"`{list_fee_rate(sheet)}` of the base cost. A call costs its prompt's tokens, its answer's tokens, "
                "and the price of a call; what it has cost stands in `usage`."
            ),
        ),
        _listed("Prices", ("model", "a million prompt tokens", "a million answer tokens", "a call"), rows),
        tag("p", prose("The same for programs: `GET /api/v1/public/pricing`, `GET /api/pricing`, `GET /v1/models`.")),
    )


def show_models(cards: Sequence[ModelCard], works: Callable[[str], bool]) -> Response:
    """Return the page of models."""
    rows = [
        (
            tag("code", card.id),
            join([tag("code", name) for name in card.aliases]),
            "not known" if card.context_length is None else str(card.context_length),
            str(card.output_tokens_max),
            ", ".join(card.features),
            "available" if works(card.id) else "degraded",
        )
        for card in cards
    ]
    heads = ("model", "also called", "context, tokens", "answer, tokens at most", "features", "status")
    return frame(
        MODELS,
        tag("p", prose("Ids and other names can be written in any case. The same for programs: `GET /v1/models`.")),
        _listed("Models", heads, rows),
        tag("p", prose("A model is `degraded` while every place that serves it is left out, or the network is quiet.")),
    )


def withhold_models() -> Response:
    """Return the page of models where the list is for holders of a key."""
    ask = "The list of models is for holders of an API key here: ask `GET /v1/models` with yours."
    return frame(MODELS, tag("p", prose(ask)))


def _listed(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(caption, heads, rows) if rows else tag("p", "No model can be had now.")

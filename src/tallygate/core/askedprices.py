"""What upstreams' price lists say, read into offers: three shapes that the network and its brokers have.

* A classic node's `/v1/governance/pricing`: the chain's price of the day, in ngonka per token, the same both ways.
* The network's gateway program's `/v1/status`: the price and the fee per attempt that its escrow was opened at. Its
  `/v1/models` shows prices of zero for everything, which says nothing.
* A broker's `/v1/models`, as OpenRouter writes it: dollars per token, and per request.

What is not of the shape, or no price, is told as such for the model that it was said of; nothing is guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from tallygate.core.ids import THEIR_MODEL_ID
from tallygate.core.quoting import Amounts, QuoteError, decode_exactly, find, read_amount, write_amount
from tallygate.core.repricing import Offer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tallygate.core.pricing import UpstreamRate

MODELS_MAX: Final = 10_000
"""No upstream has more models."""

Offers = dict[str, Offer]
"""What an upstream offers, by its own model id."""


def read_governance_pricing(upstream: str, body: bytes) -> Offers:
    """Read a node's prices; raises `QuoteError` if it is no such list."""
    return _read(upstream, "ngonka", _models(body, "/models"), ("price_per_token", "price_per_token", None))


def read_broker_models(upstream: str, body: bytes) -> Offers:
    """Read a broker's models with their prices; raises `QuoteError` if it is no such list."""
    names = ("pricing/prompt", "pricing/completion", "pricing/request")
    return _read(upstream, "usd", _models(body, "/data"), names)


def read_session(body: bytes) -> Amounts:
    """Read what the gateway program's escrow pays; raises `QuoteError` if it does not say."""
    status = decode_exactly(body)
    per_token, per_attempt = find(status, "/config/token_price"), find(status, "/config/fee_per_nonce")
    price = write_amount(read_amount(per_token))
    return Amounts(price, price, write_amount(read_amount(per_attempt)))


def read_model_ids(body: bytes) -> list[str]:
    """Return the models that an upstream lists, in either historical shape; raises `QuoteError` if it is no list."""
    try:
        return list(_models(body, "/data"))
    except QuoteError:
        return list(_models(body, "/models"))


def offer_at_cost(upstream: str, models: Iterable[str], rate: UpstreamRate) -> Offers:
    """Return offers at what the operator's configuration says that an upstream bills."""
    amounts = Amounts(str(rate.input_ngonka), str(rate.output_ngonka), str(rate.attempt_ngonka))
    return {model: Offer(upstream, "ngonka", amounts) for model in models}


def offer_alike(upstream: str, models: Iterable[str], amounts: Amounts) -> Offers:
    """Return offers of one price for all models."""
    return {model: Offer(upstream, "ngonka", amounts) for model in models}


def translate(offers: Mapping[str, Offer], names: Mapping[str, str] | None, ours: Iterable[str]) -> Offers:
    """Return offers by our model ids.

    Args:
        offers: By the upstream's own.
        names: The upstream's names for our ids; None where it takes every id as it is.
        ours: Our ids, for their letters' case.
    """
    known = {theirs.lower(): offer for theirs, offer in offers.items()}
    if names is not None:
        return {mine: known[theirs.lower()] for mine, theirs in names.items() if theirs.lower() in known}
    canonical = {mine.lower(): mine for mine in ours}
    return {canonical.get(theirs.lower(), theirs): offer for theirs, offer in offers.items()}


def _models(body: bytes, pointer: str) -> dict[str, object]:
    listed = find(decode_exactly(body), pointer)
    if not isinstance(listed, list) or len(listed) > MODELS_MAX:
        raise QuoteError("is no list of models")
    found: dict[str, object] = {}
    for model in listed:
        name = find(model, "/id")
        if isinstance(name, str) and THEIR_MODEL_ID.fullmatch(name):
            found[name] = model
    return found


def _read(
    upstream: str,
    unit: Literal["ngonka", "usd"],
    models: Mapping[str, object],
    names: tuple[str, str, str | None],
) -> Offers:
    per_input, per_output, per_call = names
    offers = {}
    for model, told in models.items():
        amounts: Amounts | str
        try:
            call = "0" if per_call is None else find(told, f"/{per_call}")
            amounts = Amounts(
                write_amount(read_amount(find(told, f"/{per_input}"))),
                write_amount(read_amount(find(told, f"/{per_output}"))),
                write_amount(read_amount("0" if call is None else call)),
            )
        except QuoteError as error:
            amounts = str(error)
        offers[model] = Offer(upstream, unit, amounts)
    return offers

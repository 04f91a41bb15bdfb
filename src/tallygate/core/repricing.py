"""Whether what upstreams ask may become a price: the rules against a feed that lies.

A price from a feed is taken when it is above zero, within the operator's bounds, and not further from the price in
force than the operator allows. Everything else changes nothing: the price in force stays, and the operator is told.
Only the operator makes a model free, and a price that the operator has set is never touched.

Where several upstreams serve a model, the dearest of those that can be believed counts, so that none is sold at a loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tallygate.core.money import NGONKA_PER_GNK, PICOUSD_PER_USD, PPM
from tallygate.core.pricing import (
    BILL_NGONKA_MAX,
    CALL_PICOUSD_MAX,
    PRICE_PICOUSD_MAX,
    Price,
    Sheet,
    UpstreamRate,
    revised,
)
from tallygate.core.quoting import Amounts, Quote, QuoteError, read_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

GNK_PICOUSD_MAX: Final = 10**6 * PICOUSD_PER_USD
"""The dearest GNK that is believed, whatever the bounds say: a million dollars."""


class Offer(NamedTuple):
    """What an upstream asks for a model.

    Attributes:
        upstream: Who asks.
        unit: Of the amounts.
        amounts: What is asked; or why that is no price, in words that quote nothing.
    """

    upstream: str
    unit: Literal["ngonka", "usd"]
    amounts: Amounts | str


@dataclass(frozen=True, slots=True)
class PriceBounds:
    """What a price from a feed may be, in pico-dollars, markup included; and how far it may move at a time."""

    token_min: int = 1
    token_max: int = PRICE_PICOUSD_MAX
    call_max: int = CALL_PICOUSD_MAX
    change_ppm_max: int = PPM // 2
    change_ppm_min: int = 0
    """A price that would move by less stays, so that a rate that trembles does not make a sheet a minute."""

    def refuse(self, picousd: tuple[int, int, int], present: Price | None) -> str | None:
        """Return why prices per prompt token, completion token and call cannot be believed, None if they can."""
        *tokens, call = picousd
        if min(tokens) <= 0:
            return "costs nothing, and only the operator makes a model free"
        if not (self.token_min <= min(tokens) and max(tokens) <= self.token_max and call <= self.call_max):
            return "is outside of the bounds"
        if present is None or present.free:
            return None
        moves = zip(picousd, (present.input, present.output, present.call), strict=True)
        if any(before and _moves_more(after, before, self.change_ppm_max) for after, before in moves):
            return "moves further at a time than it may"
        return None

    def is_still(self, picousd: tuple[int, int, int], present: Price) -> bool:
        """Return whether a price is so near to the one in force that it stays."""
        moves = zip(picousd, (present.input, present.output, present.call), strict=True)
        return not any(
            after != before and _moves_more(after, before, self.change_ppm_min - 1) for after, before in moves
        )


class Refused(NamedTuple):
    """An offer that changed nothing."""

    model: str
    upstream: str
    reason: str


class Repricing(NamedTuple):
    """What becomes of a sheet: its next version, None if nothing moves; and what was believed, and what was not.

    Attributes:
        quotes: By model, also of those that the operator prices, what upstreams tell that can be believed.
    """

    sheet: Sheet | None
    refused: Sequence[Refused]
    quotes: Mapping[str, Sequence[Quote]]


class RateBounds(NamedTuple):
    """What 1 GNK can be worth, in pico-dollars, and how far that may move from one reading to the next."""

    picousd_min: int
    picousd_max: int
    change_ppm_max: int


def read_rate(told: Decimal, last_picousd: int | None, bounds: RateBounds) -> int:
    """Return the pico-dollars of a GNK, rounded up.

    Args:
        told: Dollars, as the source says.
        last_picousd: The last rate that was believed; None before the first.
        bounds: The operator's.

    Raises:
        QuoteError: It cannot be believed.
    """
    if told <= 0:
        raise QuoteError("is zero")
    picousd = math.ceil(Fraction(told) * PICOUSD_PER_USD)
    if not bounds.picousd_min <= picousd <= min(bounds.picousd_max, GNK_PICOUSD_MAX):
        raise QuoteError("is outside of the bounds")
    if last_picousd is not None and _moves_more(picousd, last_picousd, bounds.change_ppm_max):
        raise QuoteError("moves further at a time than it may")
    return picousd


def is_operators(sheet: Sheet, model: str) -> bool:
    """Return whether a price in force was set by the operator, so that no feed may touch it."""
    return model in sheet.prices and model not in sheet.quotes


def reprice(
    sheet: Sheet,
    offers: Mapping[str, Iterable[Offer]],
    bounds: PriceBounds,
    *,
    gnk_picousd: int | None,
    markup_ppm: int,
) -> Repricing:
    """Hold what upstreams ask against the rules, and return what becomes of the sheet.

    Args:
        sheet: The one in force.
        offers: What is asked, by our model id.
        bounds: The operator's.
        gnk_picousd: What 1 GNK is worth; None while that is not known, and then nothing in ngonka is priced.
        markup_ppm: What the operator adds.
    """
    changes: dict[str, Price] = {}
    quotes: dict[str, Quote] = {}
    refused: list[Refused] = []
    believed: dict[str, list[Quote]] = {}
    for model, asked in offers.items():
        operators = is_operators(sheet, model)
        present, found = None if operators else sheet.prices.get(model), []
        for offer in asked:
            if offer.unit == "ngonka" and gnk_picousd is None and isinstance(offer.amounts, Amounts):
                continue
            try:
                quote, price = _believe(offer, present, bounds, gnk_picousd or 0, markup_ppm)
            except QuoteError as error:
                if not operators:
                    refused.append(Refused(model, offer.upstream, str(error)))
            else:
                found.append((price.input + price.output, price.call, price, quote))
        if not found:
            continue
        believed[model] = [quote for *_, quote in found]
        if operators:
            continue
        *_, price, quote = max(found, key=lambda one: one[:2])
        if present is None or not bounds.is_still((price.input, price.output, price.call), present):
            changes[model], quotes[model] = price, quote
    return Repricing(revised(sheet, changes, quotes=quotes) if changes else None, refused, believed)


def rate_of(quote: Quote, gnk_picousd: int | None) -> UpstreamRate | None:
    """Return what an upstream bills by a quote, in ngonka, rounded up; None where dollars cannot be turned into those.

    Args:
        quote: What it has told.
        gnk_picousd: What 1 GNK is worth; None while that is not known.
    """
    if quote.unit == "ngonka":
        factor = Fraction(1)
    elif gnk_picousd:
        factor = Fraction(PICOUSD_PER_USD * NGONKA_PER_GNK, gnk_picousd)
    else:
        return None
    told = (quote.amounts.input, quote.amounts.output, quote.amounts.call)
    per_input, per_output, per_attempt = (
        min(math.ceil(Fraction(read_amount(amount)) * factor), BILL_NGONKA_MAX) for amount in told
    )
    return UpstreamRate(per_input, per_output, per_attempt)


def _believe(
    offer: Offer, present: Price | None, bounds: PriceBounds, gnk_picousd: int, markup_ppm: int
) -> tuple[Quote, Price]:
    if isinstance(offer.amounts, str):
        raise QuoteError(offer.amounts)
    rate = gnk_picousd if offer.unit == "ngonka" else 0
    quote = Quote(offer.upstream, offer.unit, offer.amounts, rate, markup_ppm)
    picousd = quote.picousd()
    if (reason := bounds.refuse(picousd, present)) is not None:
        raise QuoteError(reason)
    return quote, Price(*picousd)


def _moves_more(after: int, before: int, ppm: int) -> bool:
    """Return whether a number moves by more than so many parts per million of what it was."""
    return abs(after - before) * PPM > before * ppm

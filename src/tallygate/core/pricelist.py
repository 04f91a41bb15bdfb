"""What a caller pays by the price sheet, platform fee included, as exact texts: the price list that is shown.

A charge rounds the fee of a whole call once, half up to a pico-dollar. A price that is shown is of one token, so it
is not rounded at all: up to six decimals finer than money that moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.money import PICOUSD_PER_TOKEN_PER_USD_PER_MILLION, PPM, format_usd

if TYPE_CHECKING:
    from tallygate.core.pricing import Sheet


class Listed(NamedTuple):
    """A price in its parts, as plain decimals of US dollars; network + fee = total, exactly."""

    network: str
    fee: str
    total: str


def list_unit(picousd: int, fee_ppm: int) -> str:
    """Return what one unit of a price costs a caller, such as one token or one call."""
    exact = picousd * (PPM + fee_ppm)
    dollars, rest = divmod(exact, 10**18)
    return f"{dollars}.{rest:018d}".rstrip("0").rstrip(".")


def list_million(picousd_per_token: int, fee_ppm: int) -> Listed:
    """Return what a million tokens cost a caller."""
    network = picousd_per_token * PICOUSD_PER_TOKEN_PER_USD_PER_MILLION
    fee = picousd_per_token * fee_ppm  # of a million tokens, in millionths: whole pico-dollars
    return Listed(format_usd(network), format_usd(fee), format_usd(network + fee))


def list_fee_rate(sheet: Sheet) -> str:
    """Return the platform fee as a part of the base cost: `0.1` is 10 %."""
    return format_usd(sheet.fee_ppm * (10**12 // PPM))

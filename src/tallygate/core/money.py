"""Amounts of money as integers, and their two texts.

One US dollar is 10^12 pico-dollars; an amount is an `int` of them, a price an `int` of them per LLM token. Nothing
here, and nothing that touches an amount anywhere, is a `float`: the smallest price that the network has shown
(one millionth of a dollar per million tokens) is one pico-dollar a token, so no price needs a fraction.

Texts are plain decimals (`0.0000175`, never `1.75e-05`), exact in both directions.
"""

from __future__ import annotations

import re
from typing import Final

PICOUSD_PER_USD: Final = 10**12
"""How many of our units make a dollar."""

PICOUSD_PER_TOKEN_PER_USD_PER_MILLION: Final = 10**6
"""A price of $1 per million tokens is this many pico-dollars per token."""

NGONKA_PER_GNK: Final = 10**9
"""How many of the network's unit make a GNK."""

PPM: Final = 1_000_000
"""Fees, markups and bounds are parts of so many."""

ACCOUNT_PICOUSD_MAX: Final = 1_000_000 * PICOUSD_PER_USD
"""The most that one account may hold, $1,000,000: far inside a signed 64-bit integer, also when doubled."""

# Digits are ASCII's: `\d` would take those of every script.
_DECIMAL = re.compile(r"([+-]?)([0-9]{1,15})(?:\.([0-9]{1,12}))?")


class InvalidAmountError(ValueError):
    """A text is not an amount of money that can be kept exactly."""


def format_usd(picousd: int) -> str:
    """Return an amount in dollars as a plain, exact decimal: `17_500_000` pico-dollars are `"0.0000175"`."""
    if picousd < 0:
        return f"-{format_usd(-picousd)}"
    dollars, rest = divmod(picousd, PICOUSD_PER_USD)
    return f"{dollars}.{rest:012d}".rstrip("0") if rest else str(dollars)


def format_cents(picousd: int) -> str:
    """Return an amount in dollars for people: exact, with at least two decimals and digits grouped (`"1,234.50"`)."""
    whole, _, decimals = format_usd(picousd).partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}.{decimals:0<2}"


def parse_usd(text: str) -> int:
    """Return the pico-dollars of a decimal text in dollars.

    Raises:
        InvalidAmountError: The text is no plain decimal, or has more than 12 decimals (a smaller unit does not exist).
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        raise InvalidAmountError("must be a plain decimal of US dollars with at most 12 decimals, such as 5 or 0.25")
    sign, dollars, decimals = match.groups()
    amount = int(dollars) * PICOUSD_PER_USD + int((decimals or "").ljust(12, "0"))
    return -amount if sign == "-" else amount


def parse_price_per_million(text: str) -> int:
    """Return the pico-dollars per token of a price given in dollars per million tokens.

    Raises:
        InvalidAmountError: The text is no decimal, is negative, or is finer than one pico-dollar per token.
    """
    picousd_per_million = parse_usd(text)
    if picousd_per_million < 0:
        raise InvalidAmountError("must not be negative")
    price, rest = divmod(picousd_per_million, PICOUSD_PER_TOKEN_PER_USD_PER_MILLION)
    if rest:
        raise InvalidAmountError("must have at most 6 decimals: the finest price is $0.000001 per million tokens")
    return price


def format_price_per_million(picousd_per_token: int) -> str:
    """Return a price per token as dollars per million tokens."""
    return format_usd(picousd_per_token * PICOUSD_PER_TOKEN_PER_USD_PER_MILLION)

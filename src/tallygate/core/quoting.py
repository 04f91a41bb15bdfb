"""What an upstream asks for a model, and the price that is made of it.

A quote is what was told, as exact decimals per token and per attempt, with everything else that the price depends on:
the unit, the rate of a GNK, the operator's markup. A price sheet carries the quotes that its prices were made of, so
that whoever has the books can make them again:

    price = quote * pico-dollars of its unit * (1,000,000 + markup) / 1,000,000        rounded up, once

Whether a quote may be believed is decided elsewhere (`core.repricing`). Nothing here is a float: numbers are read from
JSON as the decimals that they were written as.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final, Literal

import msgspec

from tallygate.core.money import NGONKA_PER_GNK, PICOUSD_PER_USD, PPM

MARKUP_PPM_MAX: Final = 10**8
"""A hundred times the network's price on top of it."""

_EXPONENT_MAX: Final = 40
"""No price has more digits before or behind its point; longer numbers would only cost time."""


class QuoteError(ValueError):
    """Something that was told is no price; the text says why, and quotes nothing."""


class Amounts(msgspec.Struct, frozen=True):
    """What something costs, in one unit: per prompt token, per completion token and per attempt, as plain decimals."""

    input: str
    output: str
    call: str = "0"


class Quote(msgspec.Struct, frozen=True):
    """What one price of a sheet was made of.

    Attributes:
        upstream: Who told it.
        unit: Of the amounts.
        amounts: What was told.
        gnk_picousd: What 1 GNK was worth; 0 where the unit is dollars.
        markup_ppm: What the operator adds, in parts per million.
    """

    upstream: str
    unit: Literal["ngonka", "usd"]
    amounts: Amounts
    gnk_picousd: int
    markup_ppm: int

    def picousd(self) -> tuple[int, int, int]:
        """Return the price in pico-dollars per prompt token, completion token and call, each rounded up.

        Raises:
            QuoteError: An amount is no decimal.
        """
        unit = Fraction(self.gnk_picousd, NGONKA_PER_GNK) if self.unit == "ngonka" else Fraction(PICOUSD_PER_USD)
        factor = unit * Fraction(PPM + self.markup_ppm, PPM)
        told = (self.amounts.input, self.amounts.output, self.amounts.call)
        per_input, per_output, per_call = (ceil(Fraction(read_amount(amount)) * factor) for amount in told)
        return per_input, per_output, per_call


def decode_exactly(body: bytes) -> object:
    """Return what JSON says, with every number as the decimal that is written there.

    Raises:
        QuoteError: It is no JSON.
    """
    try:
        # The standard library's decoder, for it alone hands over the digits of every number, also of NaN.
        return json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        pass  # raised outside, so that no text of theirs comes along
    raise QuoteError("is not JSON")


def read_amount(value: object) -> Decimal:
    """Return an amount that was told, as a number or as a text; zero is one, and what it means is not decided here.

    Raises:
        QuoteError: It is missing, no number, not finite, negative, or out of all bounds.
    """
    if value is None:
        raise QuoteError("is missing")
    if isinstance(value, str) and value.isascii() and 0 < len(value) <= 2 * _EXPONENT_MAX:
        with suppress(ArithmeticError):
            value = Decimal(value)
    if not isinstance(value, Decimal):
        raise QuoteError("is no number")
    if not value.is_finite():
        raise QuoteError("is not finite")
    if value < 0:
        raise QuoteError("is negative")
    if value.adjusted() > _EXPONENT_MAX or int(value.as_tuple().exponent) < -_EXPONENT_MAX:
        raise QuoteError("is out of all bounds")
    return value


def write_amount(value: Decimal) -> str:
    """Return an amount as the plain decimal that a quote carries: `0.0000035`, never `3.5e-06`."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def find(document: object, pointer: str) -> object:
    """Return what a JSON pointer (RFC 6901) leads to, None where it leads nowhere."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name)
        elif isinstance(document, list) and name.isascii() and name.isdigit() and len(name) < 7:
            document = document[int(name)] if int(name) < len(document) else None
        else:
            return None
    return document

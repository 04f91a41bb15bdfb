"""Quotes: read as exactly as they were written, made into prices by one rounding, whatever a feed says."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.quoting import Amounts, Quote, QuoteError, decode_exactly, find, read_amount, write_amount

AMOUNTS = st.decimals(0, 10**12, places=12, allow_nan=False, allow_infinity=False)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.integers(1, 10**15), st.integers(0, 10**8))
@example(Decimal(1), Decimal(1), Decimal(1000), 620_000_000_000, 0)
def test_a_price_is_its_quote_rounded_up_once(inp: Decimal, out: Decimal, call: Decimal, gnk: int, markup: int) -> None:
    """A quote in ngonka gives the exact price by fractions, rounded up to the pico-dollar; it is never below."""
    amounts = Amounts(write_amount(inp), write_amount(out), write_amount(call))
    found = Quote("u", "ngonka", amounts, gnk, markup).picousd()
    exact = [Fraction(one) * gnk / 10**9 * Fraction(10**6 + markup, 10**6) for one in (inp, out, call)]
    assert found == tuple(ceil(one) for one in exact)


def test_dollars_of_the_documentation() -> None:
    """At $0.62 a GNK, one ngonka a token is $0.00062 per million tokens; the fee counts per call."""
    quote = Quote("u", "ngonka", Amounts("1", "1", "1000"), 620_000_000_000, 0)
    assert quote.picousd() == (620, 620, 620_000)
    assert Quote("u", "usd", Amounts("0.00000000035", "0.0000000014"), 0, 100_000).picousd() == (385, 1540, 0)


@given(AMOUNTS)
def test_amounts_go_through_text_and_back(amount: Decimal) -> None:
    """An amount is written as a plain decimal that reads as the same amount, as a number and as a text."""
    text = write_amount(amount)
    assert "e" not in text.lower()
    assert read_amount(text) == amount == read_amount(decode_exactly(text.encode()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"NaN", "is not finite"),
        (b"Infinity", "is not finite"),
        (b"-1", "is negative"),
        (b"1e308", "is out of all bounds"),
        (b"1e-308", "is out of all bounds"),
        (b"null", "is missing"),
        (b"true", "is no number"),
        (b"[1]", "is no number"),
        (b'"1e308"', "is out of all bounds"),
        (b'"NaN"', "is not finite"),
        (b'"-0.1"', "is negative"),
        (b'"0x10"', "is no number"),
        (b'""', "is no number"),
        ('"١"'.encode(), "is no number"),
        (b'"' + b"9" * 1000 + b'"', "is no number"),
        (b"9" * 5000, "is out of all bounds"),
    ],
)
def test_what_is_no_amount(body: bytes, reason: str) -> None:
    """What is no finite, plain amount is refused for what it is, and no text of it is repeated."""
    with pytest.raises(QuoteError, match=f"^{reason}$"):
        read_amount(decode_exactly(body))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1e" + b"9" * 30])
def test_what_is_no_json(body: bytes) -> None:
    """A body that is no JSON, or numbers that nothing can hold, are told as that."""
    with pytest.raises(QuoteError):
        read_amount(decode_exactly(body))


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_no_feed_raises_anything_else(body: bytes) -> None:
    """Whatever comes, reading it gives an amount that is finite and not negative, or a `QuoteError`."""
    try:
        amount = read_amount(decode_exactly(body))
    except QuoteError:
        return
    assert amount.is_finite()
    assert amount >= 0


def test_decimals_are_exact() -> None:
    """A number that no float holds is read to its last digit."""
    assert read_amount(decode_exactly(b"0.62000000000000000001")) == Decimal("0.62000000000000000001")


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("/data/0/usd", Decimal("0.5")),
        ("/a~1b/m~0n", "found"),
        ("/data/1/usd", None),
        ("/data/-1/usd", None),
        ("/data/usd", None),
        ("/nowhere/at/all", None),
        ("/data/0/usd/more", None),
    ],
)
def test_a_pointer(pointer: str, expected: object) -> None:
    """A JSON pointer leads through objects and arrays, and nowhere is None."""
    assert find(decode_exactly(b'{"data":[{"usd":0.5}],"a/b":{"m~n":"found"}}'), pointer) == expected

"""Amounts as integers and as plain decimal texts."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.money import (
    ACCOUNT_PICOUSD_MAX,
    PICOUSD_PER_USD,
    InvalidAmountError,
    format_cents,
    format_price_per_million,
    format_usd,
    parse_price_per_million,
    parse_usd,
)

if TYPE_CHECKING:
    from decimal import Decimal

AMOUNTS = st.integers(-(10**27) + 1, 10**27 - 1)
"""Every amount that 15 digits of dollars and 12 decimals can spell."""


@pytest.mark.parametrize(
    ("picousd", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (-1, "-0.000000000001"),
        (17_500_000, "0.0000175"),
        (10**12, "1"),
        (10**13, "10"),
        (5 * 10**12 + 5 * 10**11, "5.5"),
        (-(10**12) // 4, "-0.25"),
        (2**63, "9223372.036854775808"),
        (ACCOUNT_PICOUSD_MAX, "1000000"),
    ],
)
def test_amount_and_text_are_two_forms_of_one_thing(picousd: int, text: str) -> None:
    """A known amount has a known text, in both directions."""
    assert format_usd(picousd) == text
    assert parse_usd(text) == picousd


@given(AMOUNTS)
def test_amount_survives_its_text(picousd: int) -> None:
    """No amount is changed by being written and read back."""
    assert parse_usd(format_usd(picousd)) == picousd


@given(AMOUNTS)
def test_text_is_a_plain_exact_decimal(picousd: int) -> None:
    """The text has no exponent and no trailing zeros, and is exactly the amount in dollars."""
    text = format_usd(picousd)

    assert set(text) <= set("-0123456789.")
    assert not ("." in text and text.endswith(("0", ".")))
    assert Fraction(text) * PICOUSD_PER_USD == picousd


@given(st.decimals(-(10**14), 10**14, places=12))
def test_any_decimal_of_twelve_places_is_read_exactly(value: Decimal) -> None:
    """Twelve decimals are read to the last one, trailing zeros or not."""
    assert parse_usd(f"{value:f}") == int(value * PICOUSD_PER_USD)


@pytest.mark.parametrize(
    ("text", "picousd"), [(" 5 ", 5 * 10**12), ("+0.5", 5 * 10**11), ("-0", 0), ("007.10", 71 * 10**11)]
)
def test_harmless_variants_are_read(text: str, picousd: int) -> None:
    """Space around, a plus sign and leading zeros do no harm."""
    assert parse_usd(text) == picousd


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "5.",
        ".5",
        "1e3",
        "1E-5",
        "1_000",
        "1,000",
        "$5",
        "5 USD",
        "0x10",
        "--1",
        "+-1",
        "- 1",
        "nan",
        "inf",
        "Infinity",
        "0.0000000000001",
        "1.0000000000000",
        "1" * 16,
        "5\n6",
        "1.2.3",
        "٥",
        "５",
        "1.٥",
        "½",
        "−5",
        "true",
    ],
)
def test_anything_else_is_no_amount(text: str) -> None:
    """Exponents, separators, signs of currency, other scripts' digits and a thirteenth decimal are refused."""
    with pytest.raises(InvalidAmountError):
        parse_usd(text)


@given(st.text(max_size=20))
def test_no_text_raises_anything_else(text: str) -> None:
    """Garbage is an `InvalidAmountError` or an exact integer, never another exception and never a float."""
    try:
        amount = parse_usd(text)
    except InvalidAmountError:
        return

    assert type(amount) is int


@pytest.mark.parametrize(
    ("picousd", "text"),
    [
        (0, "0.00"),
        (5 * 10**12, "5.00"),
        (1_234_500_000_000_000, "1,234.50"),
        (-1_234_500_000_000_001, "-1,234.500000000001"),
        (-(10**11), "-0.10"),
        (17_500_000, "0.0000175"),
        (10**18, "1,000,000.00"),
    ],
)
def test_people_see_at_least_two_decimals(picousd: int, text: str) -> None:
    """For people, thousands are grouped, two decimals are the least, and nothing is rounded."""
    assert format_cents(picousd) == text


@pytest.mark.parametrize(
    ("text", "price"), [("0.000001", 1), ("0.35", 350_000), ("1", 10**6), ("1000", 10**9), ("0", 0), ("2.5", 2_500_000)]
)
def test_price_per_million_is_an_integer_per_token(text: str, price: int) -> None:
    """A price per million tokens is a whole number of pico-dollars per token, in both directions."""
    assert parse_price_per_million(text) == price
    assert format_price_per_million(price) == text


@given(st.integers(0, 10**9))
def test_price_survives_its_text(price: int) -> None:
    """No price is changed by being written and read back."""
    assert parse_price_per_million(format_price_per_million(price)) == price


@pytest.mark.parametrize("text", ["-1", "-0.000001", "0.0000001", "0.0000015", "1e-6", "", "free"])
def test_price_that_is_negative_or_too_fine_is_refused(text: str) -> None:
    """A price below $0.000001 per million tokens, or below zero, does not exist."""
    with pytest.raises(InvalidAmountError):
        parse_price_per_million(text)

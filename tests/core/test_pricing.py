"""What an inference costs, against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.pricing import (
    BILL_NGONKA_MAX,
    CALL_PICOUSD_MAX,
    FEE_PPM_MAX,
    FREE,
    PRICE_PICOUSD_MAX,
    Cost,
    Price,
    Sheet,
    UpstreamRate,
    affordable_completion_tokens,
    cost_of,
    platform_fee,
    reconciled,
    revised,
)

PER_TOKEN = st.integers(1, 10**9)
TOKENS = st.integers(0, 10**9)
CALLS = st.integers(0, CALL_PICOUSD_MAX)
FEES = st.integers(0, FEE_PPM_MAX)
A, B, C = Price(1, 2), Price(3, 4, 5), Price(0, 0, free=True)


@given(PER_TOKEN, PER_TOKEN, CALLS, FEES, TOKENS, TOKENS)
@example(1, 1, 0, 100_000, 10**9, 10**9)
@example(10**9, 10**9, CALL_PICOUSD_MAX, FEE_PPM_MAX, 10**9, 10**9)
@example(1, 1, 0, 1, 0, 500_000)
def test_cost_is_what_fractions_say(inp: int, out: int, call: int, fee_ppm: int, prompt: int, completion: int) -> None:
    """The base cost is exact; the fee is the exact fee, rounded half up once; together they are the total."""
    cost = cost_of(Price(inp, out, call), fee_ppm, prompt, completion)
    dollars_per_million = [Fraction(price, 10**6) for price in (inp, out)]
    base_usd = (prompt * dollars_per_million[0] + completion * dollars_per_million[1]) / 10**6 + Fraction(call, 10**12)

    assert Fraction(cost.base, 10**12) == base_usd
    assert cost.fee == floor(Fraction(cost.base) * fee_ppm / 10**6 + Fraction(1, 2))
    assert cost.base + cost.fee == cost.total
    assert {type(cost.base), type(cost.fee), type(cost.total)} == {int}
    assert cost.total < 2**63


@given(PER_TOKEN, PER_TOKEN, CALLS, FEES, TOKENS, st.integers(-(10**18), 10**18))
@example(1, 1, 0, 100_000, 0, 0)
@example(1, 1, 0, 500_000, 0, 1)  # one token is 1.5, rounded up to 2
@example(1, 1, 0, 499_999, 0, 1)
@example(353, 1411, 0, 100_000, 17, 6001 + 1552 * 4)
def test_affordable_tokens_are_the_most_that_an_amount_pays_for(
    inp: int, out: int, call: int, fee_ppm: int, prompt: int, picousd: int
) -> None:
    """An amount pays for the affordable tokens and not for one more; where it pays for no prompt, they are negative."""
    price = Price(inp, out, call)
    tokens = affordable_completion_tokens(price, fee_ppm, prompt, picousd)

    if tokens >= 0:
        assert cost_of(price, fee_ppm, prompt, tokens).total <= picousd
        assert cost_of(price, fee_ppm, prompt, tokens + 1).total > picousd
    else:
        assert cost_of(price, fee_ppm, prompt, 0).total > picousd


@given(PER_TOKEN, FEES, TOKENS, st.integers(0, 10**18))
def test_free_completions_are_affordable_with_their_prompt(inp: int, fee_ppm: int, prompt: int, picousd: int) -> None:
    """Where only the prompt costs, tokens are affordable exactly if the prompt is."""
    price = Price(inp, 0)
    affordable = affordable_completion_tokens(price, fee_ppm, prompt, picousd) >= 0

    assert affordable == (cost_of(price, fee_ppm, prompt, 0).total <= picousd)


@pytest.mark.parametrize(
    ("base", "ppm", "fee"),
    [
        (0, 100_000, 0),
        (4, 100_000, 0),
        (5, 100_000, 1),
        (14, 100_000, 1),
        (15, 100_000, 2),
        (499_999, 1, 0),
        (500_000, 1, 1),
        (7, 0, 0),
        (7, 10**6, 7),
    ],
)
def test_fee_rounds_half_up(base: int, ppm: int, fee: int) -> None:
    """Half a pico-dollar of fee is rounded up, less than half down."""
    assert platform_fee(base, ppm) == fee


@given(PER_TOKEN, PER_TOKEN, FEES, TOKENS, TOKENS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_fewer_tokens_never_cost_more(
    inp: int, out: int, fee_ppm: int, prompt: int, completion: int, less: int, fewer: int
) -> None:
    """A charge for tokens within the bounds of a hold is within the hold, whatever is rounded."""
    price = Price(inp, out)
    most = cost_of(price, fee_ppm, prompt, completion)
    real = cost_of(price, fee_ppm, max(prompt - less, 0), max(completion - fewer, 0))

    assert real.base <= most.base
    assert real.total <= most.total


def test_a_million_calls_of_one_token_sum_exactly() -> None:
    """10^6 calls of one token at the smallest price cost just what one call of 10^6 tokens does, before the fee."""
    one = cost_of(Price(1, 1), 0, 1, 0)

    assert sum(one.total for _ in range(10**6)) == cost_of(Price(1, 1), 0, 10**6, 0).total == 10**6


@pytest.mark.parametrize(("prompt", "completion"), [(-1, 0), (0, -1), (-(2**70), 2**70)])
def test_negative_tokens_are_a_defect(prompt: int, completion: int) -> None:
    """No token count below zero ever becomes a cost."""
    with pytest.raises(InvariantBrokenError):
        cost_of(A, 0, prompt, completion)


@pytest.mark.parametrize(
    "fields",
    [
        {"input": 0, "output": 0},
        {"input": 0, "output": 0, "call": 0, "free": False},
        {"input": 1, "output": 0, "free": True},
        {"input": 0, "output": 0, "call": 1, "free": True},
        {"input": -1, "output": 1},
        {"input": 1, "output": -1},
        {"input": 1, "output": 1, "call": -1},
        {"input": PRICE_PICOUSD_MAX + 1, "output": 1},
        {"input": 1, "output": PRICE_PICOUSD_MAX + 1},
        {"input": 1, "output": 1, "call": CALL_PICOUSD_MAX + 1},
        {"input": 1.0, "output": 1},
        {"input": 1, "output": 1.5},
        {"input": 1, "output": 1, "call": 0.0},
        {"input": True, "output": 1},
    ],
)
def test_price_that_could_be_a_slip_is_refused(fields: dict[str, Any]) -> None:
    """Zero needs `free`, `free` needs zero, and nothing negative, absurd or fractional is a price."""
    with pytest.raises(ValueError, match="price"):
        Price(**fields)


@pytest.mark.parametrize("price", [C, Price(1, 0), Price(0, 1), Price(0, 0, 1), Price(10**9, 10**9, CALL_PICOUSD_MAX)])
def test_price_at_its_limits_is_taken(price: Price) -> None:
    """One part that costs anything, or the word `free`, makes a price; the dearest ones are taken."""
    assert Sheet.decode(Sheet(1, 0, {"m": price}).encode()).prices == {"m": price}


def test_free_model_costs_nothing() -> None:
    """A free price and any fee give exactly nothing."""
    assert cost_of(C, FEE_PPM_MAX, 10**9, 10**9) == FREE == Cost(0, 0)


@pytest.mark.parametrize("fee_ppm", [-1, FEE_PPM_MAX + 1, 0.1, True])
def test_absurd_fee_is_refused(fee_ppm: Any) -> None:
    """A sheet takes no fee that would pay the caller, overflow an amount, or be a fraction."""
    with pytest.raises(ValueError, match="fee"):
        Sheet(1, fee_ppm, {"m": A})


@given(st.dictionaries(st.text(max_size=8), st.builds(Price, PER_TOKEN, PER_TOKEN, CALLS), max_size=4), FEES)
def test_sheet_survives_its_text(prices: dict[str, Price], fee_ppm: int) -> None:
    """A sheet is read back as it was written, and its text does not depend on the order of its models."""
    sheet = Sheet(3, fee_ppm, prices, dict(prices))
    turned = Sheet(3, fee_ppm, dict(reversed(prices.items())), dict(reversed(prices.items())))

    assert Sheet.decode(sheet.encode()) == sheet
    assert turned.encode() == sheet.encode()


def test_sheet_text_is_what_the_books_have_kept() -> None:
    """The text of a sheet entry never changes: old books have to be read by new programs."""
    text = (
        '{"configured":{"m":{"call":5,"free":false,"input":3,"output":4}},"fee_ppm":100000,'
        '"prices":{"f":{"call":0,"free":true,"input":0,"output":0},"m":{"call":5,"free":false,"input":3,"output":4}},'
        '"version":7}'
    )

    assert Sheet(7, 100_000, {"m": B, "f": C}, {"m": B}).encode() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"version":1,"fee_ppm":0.5,"prices":{}}',
        '{"version":1,"fee_ppm":0,"prices":{"m":{"input":0,"output":0}}}',
    ],
)
def test_bad_sheet_text_is_refused(text: str) -> None:
    """What is no sheet, or has a price that could be a slip, is not read as one."""
    with pytest.raises(msgspec.DecodeError):
        Sheet.decode(text)


def test_revised_sheet_follows_and_changes_only_what_was_said() -> None:
    """A revision counts up, changes the named prices, keeps the others, and remembers the file's last word."""
    sheet = Sheet(4, 50_000, {"a": A, "b": B}, {"a": A})

    assert revised(sheet, {"b": C}) == Sheet(5, 50_000, {"a": A, "b": C}, {"a": A})
    assert revised(sheet, {}, fee_ppm=0) == Sheet(5, 0, {"a": A, "b": B}, {"a": A})
    assert sheet.prices == {"a": A, "b": B}


OLD = Sheet(4, 50_000, {"a": A, "b": B}, {"a": A})


@pytest.mark.parametrize(
    ("sheet", "configured", "fee_ppm", "expected"),
    [
        (None, {"a": A}, 7, Sheet(1, 7, {"a": A}, {"a": A})),
        (None, {}, 0, Sheet(1, 0, {}, {})),
        (OLD, {"a": A}, 50_000, None),
        (OLD, {"a": A}, 0, Sheet(5, 0, {"a": A, "b": B}, {"a": A})),
        (OLD, {"a": C}, 50_000, Sheet(5, 50_000, {"a": C, "b": B}, {"a": C})),
        (OLD, {"a": A, "c": C}, 50_000, Sheet(5, 50_000, {"a": A, "b": B, "c": C}, {"a": A, "c": C})),
        (OLD, {}, 50_000, Sheet(5, 50_000, {"a": A, "b": B}, {})),
        (revised(OLD, {"a": C}), {"a": A}, 50_000, None),
        (revised(OLD, {"a": C}), {"a": B}, 50_000, Sheet(6, 50_000, {"a": B, "b": B}, {"a": B})),
    ],
    ids=[
        "first",
        "first and empty",
        "same",
        "fee",
        "price",
        "new model",
        "model gone",
        "file old, set newer",
        "file newer",
    ],
)
def test_latest_word_on_a_price_counts(
    sheet: Sheet | None, configured: dict[str, Price], fee_ppm: int, expected: Sheet | None
) -> None:
    """A changed file takes effect, an unchanged one does not undo `prices set`, and no change makes no version."""
    assert reconciled(sheet, configured, fee_ppm) == expected


@given(st.sampled_from([None, OLD]), st.dictionaries(st.sampled_from("abc"), st.sampled_from([A, B, C])), FEES)
def test_reconciling_twice_does_nothing(sheet: Sheet | None, configured: dict[str, Price], fee_ppm: int) -> None:
    """A start with the same file as the last one makes no new version."""
    first = reconciled(sheet, configured, fee_ppm) or sheet

    assert reconciled(first, configured, fee_ppm) is None


@given(*[st.integers(0, 10**12)] * 3, TOKENS, TOKENS)
def test_bill_is_the_rate_times_the_tokens(inp: int, out: int, attempt: int, prompt: int, completion: int) -> None:
    """An upstream's bill is exact in ngonka, and never more than all there is."""
    bill = UpstreamRate(inp, out, attempt).bill(prompt, completion)

    assert bill == min(prompt * inp + completion * out + attempt, BILL_NGONKA_MAX)


@pytest.mark.parametrize("rate", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_upstream_never_pays_us(rate: tuple[int, int, int]) -> None:
    """A negative rate is refused."""
    with pytest.raises(ValueError, match="negative"):
        UpstreamRate(*rate)

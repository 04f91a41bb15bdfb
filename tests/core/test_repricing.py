"""A feed that lies changes nothing: no zero, no absurdity, no leap becomes a price, and the operator's stand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.money import PPM
from tallygate.core.pricing import Price, Sheet, UpstreamRate, given_back, reconciled, revised
from tallygate.core.quoting import Amounts, Quote, QuoteError
from tallygate.core.repricing import Offer, PriceBounds, RateBounds, rate_of, read_rate, reprice

GNK = 620_000_000_000
BOUNDS = PriceBounds(token_min=10, token_max=10_000, call_max=10**9, change_ppm_max=500_000, change_ppm_min=10_000)
EMPTY = Sheet(1, 100_000, {})
ODD = st.sampled_from(["0", "0.0", "1e308", "is missing", "is not finite", "1000000000000", "0.000000000001"])
SANE = st.integers(0, 10**6).map(str)


def offer(inp: str = "1", out: str = "1", call: str = "0", upstream: str = "up") -> Offer:
    """Return an offer in ngonka; a reason in place of an amount is an offer that could not be read."""
    reasons = [told for told in (inp, out, call) if told.startswith("is ")]
    return Offer(upstream, "ngonka", reasons[0] if reasons else Amounts(inp, out, call))


def price(sheet: Sheet, *offers: Offer, gnk: int | None = GNK, markup: int = 0, bounds: PriceBounds = BOUNDS) -> Sheet:
    """Return the sheet after these offers for `m`."""
    return reprice(sheet, {"m": offers}, bounds, gnk_picousd=gnk, markup_ppm=markup).sheet or sheet


def test_a_price_with_all_that_it_was_made_of() -> None:
    """A sheet gets the next version, the price rounded up once with its markup, and the quote that gives it again."""
    sheet = price(EMPTY, offer(call="1000"), markup=50_000)
    assert (sheet.version, sheet.prices) == (2, {"m": Price(651, 651, 651_000)})
    assert sheet.quotes == {"m": Quote("up", "ngonka", Amounts("1", "1", "1000"), GNK, 50_000)}
    assert Sheet.decode(sheet.encode()) == sheet
    assert b"quoted" not in EMPTY.encode().encode()


def test_what_can_be_believed_is_what_an_upstream_bills() -> None:
    """Of all offers those within the rules are told, also for a model that the operator prices, at any leap from it."""
    sheet = revised(EMPTY, {"mine": Price(5, 5)})
    offers = {"m": [offer(upstream="a"), offer("0", upstream="b"), offer("is missing", upstream="c")]}
    found = reprice(
        sheet, {**offers, "mine": [offer("3", upstream="a"), offer("0")]}, BOUNDS, gnk_picousd=GNK, markup_ppm=7
    )

    assert {model: [quote.upstream for quote in quotes] for model, quotes in found.quotes.items()} == {
        "m": ["a"],
        "mine": ["a"],
    }
    assert [(one.model, one.upstream) for one in found.refused] == [("m", "b"), ("m", "c")]
    assert rate_of(found.quotes["mine"][0], None) == UpstreamRate(3, 1, 0)


def test_dollars_are_turned_into_what_the_network_takes() -> None:
    """What a broker bills in dollars is booked in ngonka, rounded up, without a markup; not while no rate is known."""
    quote = Quote("up", "usd", Amounts("0.000000001", "0.00000000248", "0.62"), 0, 50_000)

    assert rate_of(quote, GNK) == UpstreamRate(2, 4, 10**9)
    assert rate_of(quote, None) is None
    assert rate_of(Quote("up", "ngonka", Amounts("0.5", "1.5", "1e3"), GNK, 0), None) == UpstreamRate(1, 2, 1000)


@given(st.lists(st.tuples(ODD | SANE, ODD | SANE, ODD | SANE), min_size=1, max_size=12), st.integers(0, 10**13))
def test_no_feed_makes_anything_free_or_leaps(told: list[tuple[str, str, str]], gnk: int) -> None:
    """Whatever is told in a row, each price is within the bounds, and never moves further at a time than it may."""
    sheet = EMPTY
    for one in told:
        after = price(sheet, offer(*one), gnk=gnk)
        assert after.version - sheet.version in (0, 1)
        for found in after.prices.values():
            assert not found.free
            assert all(10 <= token <= 10_000 for token in (found.input, found.output))
            assert found.call <= 10**9
            if (before := sheet.prices.get("m")) is not None:
                assert abs(found.input - before.input) * PPM <= before.input * 500_000
                assert abs(found.output - before.output) * PPM <= before.output * 500_000
        sheet = after


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (offer("0"), "costs nothing, and only the operator makes a model free"),
        (offer("1", "0"), "costs nothing, and only the operator makes a model free"),
        (offer("is missing"), "is missing"),
        (offer("100"), "is outside of the bounds"),
        (offer("0.001"), "is outside of the bounds"),
        (offer("2"), "moves further at a time than it may"),
        (offer("1", "0.2"), "moves further at a time than it may"),
        (offer(call="10000000000"), "is outside of the bounds"),
    ],
)
def test_what_is_refused(told: Offer, reason: str) -> None:
    """An offer that cannot be believed leaves the sheet as it is, and is told with its reason."""
    sheet = price(EMPTY, offer())
    after, refused, _ = reprice(sheet, {"m": [told]}, BOUNDS, gnk_picousd=GNK, markup_ppm=0)
    assert after is None
    assert [(one.model, one.upstream, one.reason) for one in refused] == [("m", "up", reason)]


def test_the_dearest_that_can_be_believed_counts() -> None:
    """Of several upstreams the dearest counts, and one that lies does not keep the others from counting."""
    sheet = price(EMPTY, offer(upstream="cheap"), offer("1.5", upstream="dear"), offer("0", upstream="liar"))
    assert sheet.quotes["m"].upstream == "dear"
    assert sheet.prices["m"] == Price(930, 620)


def test_small_moves_wait() -> None:
    """A price that would move by less than the operator asks stays; small moves in a row add up."""
    sheet = price(EMPTY, offer())
    assert price(sheet, offer(), gnk=GNK * 1009 // 1000) is sheet
    assert price(sheet, offer(), gnk=GNK * 102 // 100).prices["m"] == Price(633, 633)


def test_the_operators_prices_stand() -> None:
    """What the operator has set is never touched, be it a price, free, or one that a feed had set before."""
    for own in (Price(1, 2), Price(0, 0, free=True)):
        sheet = Sheet(1, 0, {"m": own})
        assert price(sheet, offer()) is sheet
    fed = price(EMPTY, offer())
    taken = revised(fed, {"m": Price(5, 5)})
    assert (taken.quotes, price(taken, offer())) == ({}, taken)
    filed = reconciled(fed, {"m": Price(7, 7)}, 0)
    assert filed is not None
    assert (filed.quotes, price(filed, offer())) == ({}, filed)
    kept = reconciled(fed, {}, 50_000)
    assert kept is not None
    assert kept.quotes == fed.quotes


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**15))
def test_a_price_that_is_given_back_stays_until_a_feed_moves_it(inp: int, out: int, call: int) -> None:
    """Giving a price back changes nothing of it, and its quote gives just that price; then the next offer counts."""
    if not inp + out + call:
        return
    sheet = Sheet(1, 0, {"m": Price(inp, out, call)})
    back = given_back(sheet, "m")
    assert (back.version, back.prices) == (2, sheet.prices)
    assert back.quotes["m"].picousd() == (inp, out, call)
    wide = PriceBounds(change_ppm_max=10**15)
    assert price(back, offer(), bounds=wide).prices["m"] == Price(620, 620)


def test_without_a_rate_nothing_in_ngonka_is_priced() -> None:
    """While a GNK has no price, offers in ngonka wait without being a lie; dollars do not need it."""
    after, refused, _ = reprice(EMPTY, {"m": [offer()]}, BOUNDS, gnk_picousd=None, markup_ppm=0)
    assert (after, refused) == (None, [])
    dollars = Offer("up", "usd", Amounts("0.00000000035", "0.0000000014"))
    assert price(EMPTY, dollars, gnk=None).prices["m"] == Price(350, 1400)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("0", "is zero"),
        ("0.0000001", "is outside of the bounds"),
        ("62", "is outside of the bounds"),
        ("0.75", "moves further at a time than it may"),
        ("0.49", "moves further at a time than it may"),
    ],
)
def test_a_rate_that_is_refused(told: str, reason: str) -> None:
    """A rate of nothing, beyond the bounds or too far from the last one is not believed."""
    with pytest.raises(QuoteError, match=f"^{reason}$"):
        read_rate(Decimal(told), GNK, RateBounds(10**10, 10**12 * 5, 200_000))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**12), st.integers(1, 10**13))
def test_a_rate_is_within_all_bounds_or_refused(told: Decimal, last: int) -> None:
    """Whatever a source says, what is taken is within the bounds and the step, and rounded up, never down."""
    bounds = RateBounds(10**10, 5 * 10**12, 200_000)
    try:
        rate = read_rate(told, last, bounds)
    except QuoteError:
        return
    assert bounds.picousd_min <= rate <= bounds.picousd_max
    assert abs(rate - last) * PPM <= last * 200_000
    assert rate - 1 < told * 10**12 <= rate

"""The audit makes each price again from the quote that the sheet carries."""

from __future__ import annotations

from tallygate.core.pricing import Price, revised
from tallygate.core.quoting import Amounts, Quote
from tests.core.ledger.world import MODEL, USD, World

QUOTE = Quote("up", "ngonka", Amounts("1", "2", "1000"), 620_000_000_000, 0)


def world(price: Price, quote: Quote) -> World:
    """Return books with a call at a price from a feed."""
    made = World()
    made.open("a", USD)
    made.keep(made.books.publish(revised(made.books.sheet, {MODEL: price}, quotes={MODEL: quote}), "up"))
    made.settle(made.hold("i-1"), 50, 20, bill=70)
    return made


def problems(made: World) -> list[str]:
    """Return what the audit finds."""
    return made.audit(made.batches(3)).problems


def test_a_price_that_its_quote_gives() -> None:
    """Books with a price from a feed, and the call at it, are clean."""
    assert problems(world(Price(620, 1240, 620_000), QUOTE)) == []


def test_a_price_that_its_quote_does_not_give() -> None:
    """A price beside a quote that gives another, or none at all, is told with the sheet and the model."""
    for price, quote in (
        (Price(621, 1240, 620_000), QUOTE),
        (Price(620, 1240, 620_001), QUOTE),
        (Price(620, 1240, 620_000), Quote("up", "ngonka", Amounts("NaN", "2", "1000"), 620_000_000_000, 0)),
    ):
        (problem,) = problems(world(price, quote))
        assert f"sheet version 2 has another price of {MODEL} than its quote gives" in problem

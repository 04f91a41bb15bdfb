"""P6: every amount is exact, over all prices and token counts that there can be, and however many are summed."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.audit.audit import Audit
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.books import Books
from tallygate.core.ledger.records import HoldRequest, SendingEnd
from tallygate.core.money import ACCOUNT_PICOUSD_MAX, PPM
from tallygate.core.pricing import FEE_PPM_MAX, Cost, Price, Sheet, cost_of
from tallygate.core.usage import Usage
from tests.core.ledger.world import FIRST, MODEL, USD, WRITER, World, head_of, seal

PRICES = st.integers(1, 10**9)
TOKENS = st.integers(0, 10**9)

SLICES = 40
CALLS = 10**6 // SLICES


def rational_cost(price: Price, fee_ppm: int, prompt: int, completion: int) -> tuple[int, int]:
    """Return base and fee by rational arithmetic; only the fee is rounded, half up."""
    million = Fraction(10**6)
    base = prompt * (price.input * million / million) + completion * Fraction(price.output) + Fraction(price.call)
    assert base.denominator == 1
    return int(base), floor(base * Fraction(fee_ppm, PPM) + Fraction(1, 2))


@given(PRICES, PRICES, st.integers(0, 10**12), TOKENS, TOKENS, st.integers(0, FEE_PPM_MAX))
def test_cost_is_what_rational_arithmetic_says(
    input_: int, output: int, call: int, prompt: int, completion: int, fee_ppm: int
) -> None:
    """Base needs no rounding, the fee has one, and both fit what every store can keep."""
    price = Price(input_, output, call)
    cost = cost_of(price, fee_ppm, prompt, completion)

    assert (cost.base, cost.fee) == rational_cost(price, fee_ppm, prompt, completion)
    assert cost.total == cost.base + cost.fee <= e.AMOUNT_MAX


@given(PRICES, PRICES, st.integers(1, 10**6), st.integers(0, 10**5), st.data())
def test_charge_in_the_books_is_what_rational_arithmetic_says(
    input_: int, output: int, prompt: int, completion: int, data: st.DataObject
) -> None:
    """From the hold to the posted charge every amount is exact, and the audit, which computes it again, agrees."""
    used_prompt, used = data.draw(st.integers(0, prompt)), data.draw(st.integers(0, completion))
    price, fee_ppm = Price(input_, output), data.draw(st.integers(0, FEE_PPM_MAX))
    world = World(Sheet(1, fee_ppm, {MODEL: price}))
    world.open("a", ACCOUNT_PICOUSD_MAX)
    bounds = rational_cost(price, fee_ppm, prompt, completion)
    if sum(bounds) > ACCOUNT_PICOUSD_MAX:
        return
    hold = world.hold("i", prompt_tokens_max=prompt, completion_tokens_max=completion)
    settlement = world.settle(hold, used_prompt, used)
    base, fee = rational_cost(price, fee_ppm, used_prompt, used)

    assert hold.cost.total == sum(bounds)
    assert settlement.cost == Cost(base, fee)
    assert world.books.account("a").available == ACCOUNT_PICOUSD_MAX - base - fee
    assert world.audit().problems == []


def test_totals_beyond_64_bits_are_exact() -> None:
    """Thirty accounts at their cap hold more than any 64-bit integer, and the books still add up to the pico-dollar."""
    world = World()
    for number in range(30):
        world.open(f"a{number}", ACCOUNT_PICOUSD_MAX)
        world.settle(world.hold(f"i{number}", f"a{number}"), 1, 1)
    report = world.audit()

    assert report.problems == []
    assert -report.totals["USD", "world"] == 30 * ACCOUNT_PICOUSD_MAX > 3 * 9_200_000 * USD > 2**63
    assert sum(report.totals["USD", name] for name in ("available", "held", "income/base", "income/fee")) == 30 * 10**18


@pytest.mark.parametrize("number", range(SLICES))
def test_a_million_calls_of_one_token_sum_exactly(number: int) -> None:
    """A million calls of one token cost exactly their sum: each slice takes over what the one before must have left."""
    # The price is the smallest there is, and its fee of half a pico-dollar rounds up every time.
    before = USD - number * CALLS * 2
    assert make_calls(before, 500_000, CALLS, is_audited=number in {0, SLICES - 1}) == USD - (number + 1) * CALLS * 2


def test_fee_below_half_a_unit_is_never_charged() -> None:
    """However many calls there are, a fee that rounds down adds up to nothing."""
    assert make_calls(USD, 499_999, 1000, is_audited=True) == USD - 1000


def make_calls(picousd: int, fee_ppm: int, calls: int, *, is_audited: bool) -> int:
    """Return what an account with a balance has after so many calls of one token."""
    books = Books(WRITER, 1, lambda: 0, bytes)
    sheet = books.publish(Sheet(1, fee_ppm, {MODEL: Price(1, 1)}), "operator")
    account, opened = books.open_account("a", "Ann", "operator")
    _, deposited = books.deposit("a", picousd, None, "operator")
    assert deposited is not None
    last, used = SendingEnd(FIRST, 1, 0, 0), Usage(1, 0, e.Flag(0))
    raws = [sheet.raw, opened.raw, deposited.raw]
    for call in range(calls):
        hold, held = books.hold(HoldRequest(f"i-{call}", "a", None, MODEL, 1, 0, FIRST))
        _, settled = books.settle(hold, last, used)
        if is_audited:
            raws += [held.raw, settled.raw]
    if is_audited:
        batches = seal([raws])
        audit = Audit()
        audit.take(*batches[0])
        report = audit.finish({"a": (account.available, 0, account.sequence)}, set(), {WRITER: head_of(batches)})
        assert report.problems == []
        assert report.totals["USD", "income/base"] == calls
        assert report.totals["USD", "income/fee"] == picousd - calls - account.available
    return account.available

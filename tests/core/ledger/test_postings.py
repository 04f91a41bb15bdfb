"""Postings: sorted, without zeros, summing to zero in each book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import InvariantBrokenError
from tallygate.core.ledger.entry import AMOUNT_MAX, NGONKA, USD, Posting
from tallygate.core.ledger.postings import check_balanced, ngonka_postings, usd_postings
from tallygate.core.ledger.records import Account
from tallygate.core.pricing import Cost

NAMES = st.from_regex("[a-z0-9-]{1,8}", fullmatch=True)
BILLS = st.dictionaries(NAMES, st.integers(0, 10**18), max_size=4)
AMOUNTS = st.integers(0, 10**18)


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_usd_postings_of_an_ending_balance(released: int, base: int, fee: int) -> None:
    """What leaves `held` goes to `available`, base and fee; zeros are left out; the order is by ledger account."""
    account = Account("x", "Ann", 0)
    held = released + base + fee
    postings = usd_postings(account, released, -held, Cost(base, fee))
    wanted = {
        "account/x/available": released,
        "account/x/held": -held,
        "income/base": base,
        "income/fee": fee,
    }

    assert {name: amount for _, name, amount in postings} == {name: n for name, n in wanted.items() if n}
    assert list(postings) == sorted(postings)
    check_balanced(postings)


@given(BILLS, st.data())
def test_ngonka_postings_balance_and_are_sorted(bills: dict[str, int], data: st.DataObject) -> None:
    """What upstreams bill is paid or unpaid, to the last ngonka, whatever the upstreams are called."""
    billed = sum(bills.values())
    unpaid = data.draw(st.integers(0, billed))
    postings = ngonka_postings(bills, unpaid)
    amounts = {name: amount for _, name, amount in postings}

    assert list(postings) == sorted(postings)
    assert amounts.get("cost/unpaid", 0) == unpaid
    assert amounts.get("cost/paid", 0) == billed - unpaid
    assert all(amounts.get(f"upstream/{name}/payable", 0) == -bill for name, bill in bills.items())
    assert 0 not in amounts.values()


def test_upstreams_are_sorted_as_ledger_accounts() -> None:
    """`a-b` comes before `a`, since `upstream/a-b/…` comes before `upstream/a/…`."""
    names = [name for _, name, _ in ngonka_postings({"a": 1, "a-b": 1}, 0)]

    assert names == ["cost/paid", "upstream/a-b/payable", "upstream/a/payable"]


@pytest.mark.parametrize(("bills", "unpaid"), [({"a": -1}, 0), ({"a": 2, "b": -1}, 0), ({"a": 1}, 2), ({"a": 1}, -1)])
def test_bill_cannot_be_negative_nor_less_than_its_unpaid_part(bills: dict[str, int], unpaid: int) -> None:
    """No upstream pays us, and no more stays unpaid than was billed."""
    with pytest.raises(InvariantBrokenError):
        ngonka_postings(bills, unpaid)


@pytest.mark.parametrize(
    "postings",
    [
        ((USD, "world", 1),),
        ((USD, "world", 1), (NGONKA, "cost/paid", -1)),
        ((NGONKA, "cost/paid", 2), (NGONKA, "cost/unpaid", -1)),
        ((USD, "a", AMOUNT_MAX + 1), (USD, "b", -AMOUNT_MAX - 1)),
    ],
)
def test_unbalanced_or_unfit_postings_are_a_defect(postings: tuple[Posting, ...]) -> None:
    """Each book balances by itself, in amounts of 64 bits."""
    with pytest.raises(InvariantBrokenError):
        check_balanced(postings)

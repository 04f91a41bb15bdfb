"""Totals per class: exact at any size, in one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.ledger import entry as e
from tallygate.core.proofs.totals import (
    MalformedTotalsError,
    Totals,
    WrittenTotal,
    class_of,
    find_imbalance,
    read_totals,
    write_totals,
)
from tests.core.audit.forgery import entries_of, make_world
from tests.core.ledger.messagepack import pack

AMOUNTS = st.integers(-(10**30), 10**30)
TOTALS = st.dictionaries(st.tuples(st.sampled_from([e.USD, e.NGONKA]), st.text(max_size=5)), AMOUNTS, max_size=6)


@pytest.mark.parametrize(
    ("ledger_account", "name"),
    [
        ("account/a/available", "available"),
        ("account/a/b/held", "held"),
        ("upstream/x/payable", "payable"),
        ("income/base", "income/base"),
        ("cost/unpaid", "cost/unpaid"),
        ("world", "world"),
    ],
)
def test_class_hides_whose_account_it_is(ledger_account: str, name: str) -> None:
    """A customer's and an upstream's accounts are named by what they hold; the others stand for themselves."""
    assert class_of(ledger_account) == name


@given(TOTALS)
def test_totals_are_read_back_as_they_were(totals: dict[tuple[str, str], int]) -> None:
    """Whatever their size, totals come back exactly; those of zero are not written at all."""
    assert read_totals(write_totals(totals)) == {key: total for key, total in totals.items() if total}


@pytest.mark.parametrize(
    ("total", "written"),
    [
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, "9223372036854775808"),
        (-(2**63) - 1, "-9223372036854775809"),
    ],
)
def test_total_is_text_beyond_64_bits(total: int, written: int | str) -> None:
    """A total is an integer as long as it is a signed 64-bit one, and its digits beyond."""
    assert write_totals({(e.USD, "world"): total}) == ((e.USD, "world", written),)


@pytest.mark.parametrize(
    "rows",
    [
        [("USD", "world", 0)],
        [("USD", "world", "5")],
        [("USD", "world", 2**63)],
        [("USD", "world", "09223372036854775808")],
        [("USD", "world", "+9223372036854775808")],
        [("USD", "world", "9_223_372_036_854_775_808")],
        [("USD", "world", "٩٢٢٣٣٧٢٠٣٦٨٥٤٧٧٥٨٠٨٩٩")],
        [("USD", "world", "")],
        [("USD", "world", "1" * 100_000)],
        [("USD", "world", 1), ("USD", "held", -1)],
        [("USD", "world", 1), ("USD", "world", 1)],
    ],
)
def test_totals_in_another_form_are_refused(rows: list[WrittenTotal]) -> None:
    """There is one form of each total and one order; no other is read, however long it is."""
    with pytest.raises(MalformedTotalsError):
        read_totals(rows)


def test_totals_of_books_are_those_of_their_entries() -> None:
    """Kept up entry by entry, with what customers have, the totals are the sums over all postings, and balance."""
    expected: dict[tuple[str, str], int] = {}
    totals = Totals()
    for entry in entries_of(make_world()):
        totals.take(entry)
        for book, name, amount in entry.postings:
            expected[book, class_of(name)] = expected.get((book, class_of(name)), 0) + amount
    available, held = expected[e.USD, "available"], expected[e.USD, "held"]
    found = totals.with_customers(available, held)

    assert {key: total for key, total in found.items() if total} == {k: total for k, total in expected.items() if total}
    assert find_imbalance(found) == {}
    assert find_imbalance(totals.with_customers(available + 1, held)) == {e.USD: 1}


def test_kept_totals_are_read_back() -> None:
    """What a store keeps is the form of the checkpoint, and comes back; postings can be taken back, too."""
    entries = entries_of(make_world())
    totals = Totals()
    for entry in entries:
        totals.take(entry)
    raw = totals.encode()

    assert raw == pack(list(write_totals(totals.sums)))
    assert Totals.decode(raw).sums == {key: total for key, total in totals.sums.items() if total}
    for entry in entries:
        totals.add(entry.postings, -1)
    assert Totals.decode(totals.encode()).sums == {}


@given(st.binary(max_size=40))
def test_garbage_is_malformed_and_nothing_else(garbage: bytes) -> None:
    """No bytes raise another exception."""
    try:
        Totals.decode(garbage)
    except MalformedTotalsError:
        return
